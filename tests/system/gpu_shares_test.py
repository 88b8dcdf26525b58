"""GPUs that runners share: what each finds in its environment, and the life of the MPS daemons."""

import os
import signal
import subprocess
import unittest

import harness
from gpu_host import GpuHost, device, model, two_on_one
from harness import greedy, is_gone, wait_for

UUID = "GPU-8f3a0000-1111-2222-3333-44445555abcd"
SECOND_UUID = "GPU-8f3a0000-1111-2222-3333-44445555abce"


class GpuShares(unittest.TestCase):
    def setUp(self):
        self.host = self.enterContext(GpuHost())

    def start(self, config, runners):
        self.dsd = self.enterContext(self.host.dsd(config))
        for index in range(runners):
            self.dsd.wait_state("ready", index)
        return self.dsd

    def pids(self):
        return {row["id"]: row["pid"] for row in self.dsd.runners()}

    def environments(self):
        return {name: self.host.environment_of(pid) for name, pid in self.pids().items() if pid > 0}

    def assert_serves(self):
        answer = self.dsd.api("POST", "/v1/completions", greedy(tokens=4))
        self.assertEqual(answer.status, 200, answer.text)

    def test_who_shares_a_gpu_is_a_client_of_its_one_mps_daemon_and_has_its_share(self):
        self.start(two_on_one(), 2)
        started = self.host.mps_starts()
        self.assertEqual(len(started), 1)
        files = os.path.join(self.dsd.runtime_dir, "mps", "0")
        self.assertEqual(started[0]["environment"], {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0",
            "CUDA_MPS_PIPE_DIRECTORY": files + "/pipe", "CUDA_MPS_LOG_DIRECTORY": files + "/log"})
        share = {**started[0]["environment"], "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50",
                 "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=8192M"}
        environments = self.environments()
        self.assertEqual(environments["tiny@half0"], share)
        share["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = "30"
        del share["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"]
        self.assertEqual(environments["tiny@half1"], share)
        self.assertEqual(os.stat(files + "/pipe").st_mode & 0o777, 0o700)
        self.assert_serves()

    def test_each_shared_gpu_has_a_daemon_of_its_own_and_one_that_is_not_has_none(self):
        self.start(device("a", UUID, thread_percent=50) + device("b", SECOND_UUID) +
                   model("tiny", "a") + model("one", "b") + model("two", "b"), 3)
        seen = sorted(line["environment"]["CUDA_VISIBLE_DEVICES"] for line in self.host.mps_starts())
        self.assertEqual(seen, [UUID, SECOND_UUID])
        environments = self.environments()
        self.assertEqual(environments["tiny@a"]["CUDA_VISIBLE_DEVICES"], UUID)
        self.assertEqual(environments["two@b"]["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"], "100")

    def test_a_runner_that_has_its_gpu_alone_does_without_mps_whoever_offers_it(self):
        self.start(device("gpu0", 0) + device("gpu1", 1) + model("tiny", "gpu0", "gpu1"), 2)
        self.assertEqual(self.host.mps_log(), [])
        nowhere = os.path.join(self.dsd.runtime_dir, "mps", "none")
        self.assertFalse(os.path.exists(nowhere))
        self.assertEqual(self.environments()["tiny@gpu1"], {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1",
            "CUDA_MPS_PIPE_DIRECTORY": nowhere})

    def test_no_runner_starts_before_the_daemon_answers(self):
        self.host.behave("mute")
        self.dsd = self.enterContext(self.host.dsd(two_on_one()))
        wait_for(lambda: len(self.host.mps_starts()) == 1, "the MPS daemon")
        row = self.dsd.wait_state("backoff")
        self.assertEqual((row["pid"], row["restarts"]), (-1, 0))
        self.assertEqual(row["ranks"][0]["sharing"], "waiting")
        self.host.behave("mute", False)
        row = self.dsd.wait_state("ready")
        self.assertEqual(row["restarts"], 0)
        self.assertEqual(row["ranks"][0]["sharing"], "shared")

    def test_a_daemon_that_never_answers_is_ended_and_another_one_started(self):
        self.host.behave("mute")
        self.dsd = self.enterContext(self.host.dsd(two_on_one()))
        wait_for(lambda: len(self.host.mps_starts()) == 2, "another MPS daemon")
        self.host.behave("mute", False)
        self.dsd.wait_state("ready")
        self.assertEqual(len(self.host.living_mps()), 1)
        self.assertIn("does not answer", self.dsd.log())

    def test_a_second_signal_leaves_no_daemon_either(self):
        self.host.behave("stubborn")
        self.start(two_on_one(), 2)
        stream = self.dsd.stream(greedy(tokens=900)).begin()  # the first one waits for it
        for _ in range(2):
            self.dsd.process.send_signal(signal.SIGTERM)
            wait_for(lambda: "stopping:" in self.dsd.log(), "the first signal to be heard")
        self.assertEqual(self.dsd.process.wait(harness.BOUND_S), 1)
        wait_for(lambda: self.host.living_mps() == [], "the MPS daemon to end")
        stream.close()

    def test_a_clean_stop_leaves_no_daemon(self):
        self.start(two_on_one(), 2)
        self.dsd.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.dsd.process.wait(harness.BOUND_S), 0)
        self.assertEqual(self.host.living_mps(), [])
        self.assertEqual(len(self.host.mps_commands("quit")), 1)
        self.assertNotIn("terminated", [line["event"] for line in self.host.mps_log()])

    def test_a_daemon_that_does_not_heed_quit_is_ended_all_the_same(self):
        self.host.behave("stubborn")
        self.start(two_on_one(), 2)
        self.dsd.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.dsd.process.wait(harness.BOUND_S), 0)
        self.assertEqual(self.host.living_mps(), [])

    def test_a_killed_daemon_is_recycled_with_its_runners_and_requests_go_on(self):
        self.start(two_on_one(), 2)
        body = greedy(tokens=600)
        expected = self.dsd.api("POST", "/v1/completions", body).json["choices"][0]["text"]
        before = self.pids()
        stream = self.dsd.stream(body).begin()
        os.kill(self.host.living_mps()[0], signal.SIGKILL)
        self.assertEqual(stream.choices(), [expected])
        self.assertIsNone(stream.error)
        wait_for(lambda: all(row["state"] == "ready" and row["pid"] != before[row["id"]]
                             for row in self.dsd.runners()), "both runners to be new")
        self.assertEqual(len(self.host.living_mps()), 1)
        self.assertEqual(len(self.host.mps_starts()), 2)
        reasons = {row["last_error"] for row in self.dsd.runners()}
        self.assertEqual(reasons, {"ended, as its device was taken from it"})

    def test_a_daemon_that_dies_again_and_again_leaves_time_slicing(self):
        self.host.behave("crashing")
        self.start("[supervise]\ndeaths_max = 1\n" + two_on_one(), 2)
        self.assertEqual(len(self.host.mps_starts()), 2)
        self.assertIn("take turns on it (time-slicing)", self.dsd.log())
        self.assertEqual(self.dsd.runner_row()["ranks"][0]["sharing"], "time-sliced")
        self.assertNotIn("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", self.environments()["tiny@half0"])
        self.assert_serves()

    def test_an_upgrade_keeps_the_daemon_and_its_clients(self):
        self.start(two_on_one(), 2)
        before, mps = self.pids(), self.host.living_mps()
        answer = self.dsd.control("POST", "/ctl/daemon/reexec", {})
        self.assertEqual(answer.status, 200, answer.text)
        for index in (0, 1):
            self.dsd.wait_state("ready", index)
        self.assertEqual((self.pids(), self.host.living_mps()), (before, mps))
        wait_for(lambda: self.dsd.runner_row()["ranks"][0]["sharing"] == "shared", "the daemon to be known")
        os.kill(mps[0], signal.SIGKILL)  # it is watched by the new program
        wait_for(lambda: all(row["state"] == "ready" and row["pid"] != before[row["id"]]
                             for row in self.dsd.runners()), "both runners to be new")

    def test_a_dsd_that_is_killed_leaves_its_daemon_to_the_next_one(self):
        self.start(two_on_one(), 2)
        before, mps = self.pids(), self.host.living_mps()
        self.dsd.replace()
        for index in (0, 1):
            self.dsd.wait_state("ready", index)
        self.assertEqual((self.pids(), self.host.living_mps()), (before, mps))
        self.assertEqual(len(self.host.mps_starts()), 1)
        wait_for(lambda: self.dsd.runner_row()["ranks"][0]["sharing"] == "shared", "the daemon to be known")
        self.dsd.process.send_signal(signal.SIGTERM)
        self.dsd.process.wait(harness.BOUND_S)
        self.assertEqual(self.host.living_mps(), [])

    def test_what_a_service_that_was_stopped_has_left_is_ended_with_the_runners(self):
        self.start(two_on_one(), 2)
        pids = self.pids().values()
        self.dsd.process.kill()
        self.dsd.process.wait()
        for result, left in (("signal", 1), ("success", 0)):  # after a death the next dsd takes it over
            subprocess.run([*self.dsd.arguments(), "--end-runners"], check=True,
                           env={**os.environ, "SERVICE_RESULT": result})
            self.assertEqual(len(self.host.living_mps()), left)
            self.assertEqual([is_gone(pid) for pid in pids], [left == 0] * 2)

    def test_a_daemon_whose_gpu_is_shared_no_longer_ends_when_the_next_dsd_has_looked(self):
        self.start(two_on_one(), 2)
        self.dsd.process.kill()
        self.dsd.process.wait()
        with open(self.dsd.config_path, "w") as file:
            file.write(device("gpu1", 1) + model("tiny", "gpu1", extra='keep_warm = "0s"\n'))
        self.dsd.start()
        wait_for(lambda: self.host.living_mps() == [], "the daemon to end")
        wait_for(lambda: [(row["id"], row["state"]) for row in self.dsd.runners()] ==
                 [("tiny@gpu1", "ready")],
                 "the new configuration's runner alone")

    def test_a_reload_that_shares_a_gpu_starts_a_daemon_and_one_that_does_not_ends_it(self):
        self.start(device("gpu0", 0) + model("tiny", "gpu0"), 1)
        self.assertEqual(self.host.mps_log(), [])
        with open(self.dsd.config_path, "w") as file:
            file.write(device("gpu0", 0, thread_percent=60) + model("tiny", "gpu0"))
        self.assertEqual(self.dsd.control("POST", "/ctl/config/reload").status, 200)
        wait_for(lambda: self.host.living_mps(), "an MPS daemon")
        wait_for(lambda: any("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" in one
                             for one in self.environments().values()), "a runner with its share")
        wait_for(lambda: self.dsd.control("GET", "/ctl/models").json[0]["order"] == "", "the swap's end")
        with open(self.dsd.config_path, "w") as file:
            file.write(device("gpu0", 0) + model("tiny", "gpu0", extra='keep_warm = "0s"\n'))
        self.assertEqual(self.dsd.control("POST", "/ctl/config/reload").status, 200)
        wait_for(lambda: self.host.living_mps() == [], "the daemon to end with its last client")
        self.assert_serves()


class WithoutMps(unittest.TestCase):
    def test_where_there_is_no_such_program_runners_take_turns_and_that_is_said_once(self):
        host = self.enterContext(GpuHost(has_mps=False))
        dsd = self.enterContext(host.dsd(two_on_one() + device("third", 1) + model("one", "third") +
                                         model("two", "third")))
        for index in range(4):
            row = dsd.wait_state("ready", index)
            self.assertEqual(row["ranks"][0]["sharing"], "time-sliced")
        self.assertEqual(dsd.log().count("there is no nvidia-cuda-mps-control on PATH"), 1)
        environment = host.environment_of(dsd.runner_row()["pid"])
        self.assertEqual(environment["CUDA_VISIBLE_DEVICES"], "0")
        self.assertEqual(dsd.api("POST", "/v1/completions", greedy(tokens=4)).status, 200)
        for row in dsd.runners():
            self.assertFalse(is_gone(row["pid"]))

    def test_a_runner_that_has_no_cuda_refuses_by_name_and_is_not_tried_again(self):
        dsd = self.enterContext(harness.Dsd(device("gpu0", 0) + model("tiny", "gpu0")))
        row = dsd.wait_state("failed")
        # The second where the build has CUDA, and this host no GPU.
        self.assertRegex(row["last_error"], "built without CUDA|no NVIDIA driver")
        self.assertEqual(row["restarts"], 0)
        self.assertEqual(dsd.control("GET", "/ctl/models").json[0]["state"], "failed")


if __name__ == "__main__":
    harness.main()
