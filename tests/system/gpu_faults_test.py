"""A runner whose GPU fails: who is restarted, who is suspected, and what becomes of the requests."""

import concurrent.futures
import os
import signal
import unittest

import harness
from gpu_host import GpuHost, device, model, two_on_one
from harness import greedy, wait_for

UUID = "GPU-8f3a0000-1111-2222-3333-44445555abcd"


def alone():
    return device("gpu0", 0) + model("tiny", "gpu0")


class GpuFaults(unittest.TestCase):
    def start(self, config, runners):
        self.host = self.enterContext(GpuHost())
        self.dsd = self.enterContext(self.host.dsd(config))
        for index in range(runners):
            self.dsd.wait_state("ready", index)

    def undisturbed(self, body):
        return self.dsd.api("POST", "/v1/completions", body).json["choices"][0]["text"]

    def pids(self):
        return {row["id"]: row["pid"] for row in self.dsd.runners()}

    def row(self, runner):
        return next(row for row in self.dsd.runners() if row["id"] == runner)

    def wait_new(self, before, runners):
        def are_new():
            rows = [self.row(runner) for runner in runners]
            return all(row["state"] == "ready" and row["pid"] != before[row["id"]] for row in rows)
        wait_for(are_new, f"{runners} to be new")

    def stream_through(self, number):
        """Has a step of the runner that works on a stream end with this error; the stream goes on."""
        body = greedy(tokens=600)
        expected = self.undisturbed(body)
        self.before = self.pids()
        stream = self.dsd.stream(body).begin()
        self.struck = self.dsd.requests()[0]["runner"]
        self.host.fail_next_step(self.struck, number)
        self.assertEqual(stream.choices(), [expected])
        self.assertIsNone(stream.error)

    def test_an_illegal_address_alone_on_a_gpu_restarts_the_runner_and_the_request_goes_on(self):
        self.start(alone(), 1)
        self.stream_through(700)
        self.wait_new(self.before, ["tiny@gpu0"])
        row = self.row("tiny@gpu0")
        self.assertEqual(row["last_error"], "CUDA error 700 (illegal address): a test's fault")
        self.assertEqual(row["restarts"], 1)
        self.assertIn("restart runner", self.dsd.log())

    def test_what_may_go_on_in_other_words_says_so_in_its_trace(self):
        self.start(device("gpu0", 0) + model("tiny", "gpu0", extra="deterministic = false\n"), 1)
        stream = self.dsd.stream(greedy(tokens=600)).begin()
        request = self.dsd.requests()[0]["id"]
        self.host.fail_next_step("tiny@gpu0", 700)
        stream.choices()
        self.assertTrue(stream.done)
        trace = self.dsd.control("GET", f"/ctl/requests/{request}/trace").json
        died = [event for event in trace["events"] if event["event"] == "runner_died"]
        self.assertIn("in other words: model.deterministic = false", died[0]["text"])

    def lost_in_an_upgrade(self, body):
        """Its runner answers no rendezvous, and is ended before it has told the next dsd of anything."""
        config = '[supervise]\nhang_after = "6s"\n' + device("gpu0", 0)
        self.start(config + model("tiny", "gpu0", extra="deterministic = false\n"), 1)
        stream = self.dsd.stream(body).begin()
        self.request = self.dsd.requests()[0]["id"]
        harness.send(self.dsd.runner_row()["pid"], signal.SIGSTOP)
        self.assertEqual(self.dsd.control("POST", "/ctl/daemon/reexec", {}).status, 200)
        stream.choices()
        return stream

    def test_what_goes_on_after_an_upgrade_in_other_words_says_so_in_its_trace(self):
        stream = self.lost_in_an_upgrade(greedy(tokens=600))
        self.assertTrue(stream.done)
        trace = self.dsd.control("GET", f"/ctl/requests/{self.request}/trace").json
        died = [event for event in trace["events"] if event["event"] == "runner_died"]
        self.assertIn("in other words: model.deterministic = false", died[0]["text"])

    def test_what_cannot_be_told_again_after_an_upgrade_ends_with_an_error(self):
        stream = self.lost_in_an_upgrade(greedy(tokens=600, logprobs=1))
        self.assertFalse(stream.done)
        self.assertIn("model.deterministic = false does not say the same again", stream.error["message"])
        self.dsd.wait_state("ready")
        self.assertEqual(self.undisturbed(greedy(tokens=5)), self.undisturbed(greedy(tokens=5)))

    def test_an_illegal_address_on_a_shared_gpu_recycles_mps_with_all_its_runners(self):
        self.start(two_on_one(), 2)
        self.stream_through(700)
        self.wait_new(self.before, list(self.before))
        self.assertEqual(len(self.host.mps_starts()), 2)
        self.assertEqual(len(self.host.living_mps()), 1)

    def test_a_fault_of_mps_suspects_nobody_and_recycles_it(self):
        self.start(two_on_one(), 2)
        self.stream_through(805)
        self.wait_new(self.before, list(self.before))
        self.assertEqual(len(self.host.living_mps()), 1)
        self.assertIn("CUDA error 805 (MPS has failed)", self.row(self.struck)["last_error"])
        self.assertIn("recycle MPS", self.dsd.log())

    def test_an_ecc_error_drains_the_gpu_and_another_one_takes_the_request(self):
        self.start(device("gpu0", 0) + device("gpu1", 1) + model("tiny", "gpu0", "gpu1"), 2)
        self.stream_through(214)
        wait_for(lambda: self.row(self.struck)["state"] == "failed", "the runner to be failed")
        row = self.row(self.struck)
        self.assertEqual(row["ranks"][0]["sharing"], "drained")
        self.assertIn("drained until `dsctl runner reset`: CUDA error 214 (uncorrectable ECC error)",
                      row["last_error"])
        restarted = harness.dsctl(self.dsd, "runner", "restart", self.struck)
        self.assertEqual(restarted.returncode, 1, restarted.stderr)
        self.assertIn("drained", restarted.stdout + restarted.stderr)
        reset = harness.dsctl(self.dsd, "runner", "reset", self.struck)
        self.assertEqual(reset.returncode, 0, reset.stderr)
        self.assertEqual(self.row(self.struck)["state"], "ready")
        self.assertEqual(self.row(self.struck)["ranks"][0]["sharing"], "alone")

    def test_a_reset_brings_back_all_that_the_drained_gpu_had(self):
        self.start(two_on_one(), 2)
        self.host.fail_next_step("tiny@half0", 214)
        self.host.fail_next_step("tiny@half1", 214)
        self.dsd.api("POST", "/v1/completions", greedy(tokens=4))
        wait_for(lambda: all(row["state"] == "failed" for row in self.dsd.runners()), "both to be failed")
        wait_for(lambda: self.host.living_mps() == [], "the MPS daemon to rest")
        self.assertEqual(harness.dsctl(self.dsd, "runner", "reset", "tiny@half1").returncode, 0)
        for index in (0, 1):
            self.dsd.wait_state("ready", index)
        self.assertEqual(len(self.host.living_mps()), 1)

    def test_a_request_that_faults_the_gpu_again_and_again_is_the_one_that_fails(self):
        self.start(alone(), 1)
        body = greedy(tokens=600)
        stream = self.dsd.stream(body).begin()
        before = self.pids()
        self.host.fail_next_step("tiny@gpu0", 719)
        self.wait_new(before, ["tiny@gpu0"])
        wait_for(lambda: self.dsd.requests() and self.dsd.requests()[0]["runner"], "its trial")
        self.host.fail_next_step("tiny@gpu0", 719)
        stream.choices()
        self.assertEqual(stream.error["code"], "runner_lost")

    def test_a_hung_client_is_taken_off_the_gpu_before_it_is_killed(self):
        self.start("[supervise]\nhang_after = \"1s\"\n" + two_on_one(), 2)
        self.stream_through(-1)
        self.wait_new(self.before, list(self.before))
        terminated = self.host.mps_commands("terminate_client")
        self.assertEqual(terminated[0]["words"][2], str(self.before[self.struck]))
        self.assertEqual(self.row(self.struck)["last_error"], "hung: it made no progress and was ended")
        self.assertEqual(len(self.host.mps_starts()), 2)

    def test_a_client_that_is_killed_takes_its_neighbours_along(self):
        self.start(two_on_one(), 2)
        before = self.pids()
        os.kill(before["tiny@half0"], signal.SIGKILL)
        self.wait_new(before, list(before))
        self.assertEqual(len(self.host.living_mps()), 1)
        self.assertEqual(len(self.host.mps_starts()), 2)

    def test_a_client_that_is_restarted_in_order_leaves_its_neighbours_alone(self):
        self.start(two_on_one(), 2)
        before = self.pids()
        self.assertEqual(harness.dsctl(self.dsd, "runner", "restart", "tiny@half0").returncode, 0)
        self.wait_new(before, ["tiny@half0"])
        self.assertEqual(self.pids()["tiny@half1"], before["tiny@half1"])
        self.assertEqual(len(self.host.mps_starts()), 1)


class WithADriver(unittest.TestCase):
    """What the driver tells is heard as well."""
    GPU = ("gpus 1", f"gpu.0.uuid {UUID}", "gpu.0.memory_total 1000000000")

    def setUp(self):
        self.host = self.enterContext(GpuHost(has_driver=True))
        self.host.tell_of_gpus(*self.GPU, "gpu.0.memory_used 0")
        self.dsd = self.enterContext(self.host.dsd(alone()))
        self.dsd.wait_state("ready")
        wait_for(lambda: self.dsd.runner_row()["gpus"], "the driver to be read")

    def test_an_xid_that_wants_a_reset_drains_the_gpu_and_who_serves_serves_on(self):
        pid = self.dsd.runner_row()["pid"]
        self.host.tell_of_gpus(*self.GPU, "gpu.0.memory_used 0", "xid 0 79")
        wait_for(lambda: self.dsd.runner_row()["ranks"][0]["sharing"] == "drained", "the GPU to be drained")
        self.assertEqual(self.dsd.api("POST", "/v1/completions", greedy(tokens=4)).status, 200)
        os.kill(pid, signal.SIGKILL)
        row = self.dsd.wait_state("failed")
        self.assertIn("drained until `dsctl runner reset`: Xid 79 (the GPU has fallen off the bus)",
                      row["last_error"])

    def test_a_gpu_that_is_drained_stays_so_over_an_upgrade(self):
        self.host.tell_of_gpus(*self.GPU, "gpu.0.memory_used 0", "xid 0 95")
        wait_for(lambda: self.dsd.runner_row()["ranks"][0]["sharing"] == "drained", "the GPU to be drained")
        self.assertEqual(self.dsd.control("POST", "/ctl/daemon/reexec", {}).status, 200)
        self.dsd.wait_state("ready")
        self.assertEqual(self.dsd.runner_row()["ranks"][0]["sharing"], "drained")
        os.kill(self.dsd.runner_row()["pid"], signal.SIGKILL)
        self.assertIn("Xid 95", self.dsd.wait_state("failed")["last_error"])

    def test_an_xid_that_is_the_applications_changes_nothing(self):
        self.host.tell_of_gpus(*self.GPU, "gpu.0.memory_used 0", "xid 0 13")
        wait_for(lambda: "Xid 13 (graphics engine exception): note" in self.dsd.log(), "it to be noted")
        self.assertEqual(self.dsd.runner_row()["ranks"][0]["sharing"], "alone")

    def test_a_runner_comes_back_when_the_memory_of_the_one_before_is_seen_free(self):
        self.host.tell_of_gpus(*self.GPU, "gpu.0.memory_used 999000000")
        os.kill(self.dsd.runner_row()["pid"], signal.SIGKILL)
        self.dsd.wait_state("backoff")
        read = self.dsd.runner_row()["gpus"][0]["memory_used_bytes"]
        wait_for(lambda: self.dsd.runner_row()["gpus"][0]["memory_used_bytes"] == 999000000, f"not {read}")
        self.assertEqual(self.dsd.runner_row()["pid"], -1)
        self.host.tell_of_gpus(*self.GPU, "gpu.0.memory_used 0")
        row = self.dsd.wait_state("ready")
        self.assertEqual(row["restarts"], 1)
        self.assertNotIn("bytes are free", self.dsd.log())
        self.assertEqual(self.host.environment_of(row["pid"])["CUDA_VISIBLE_DEVICES"], UUID)

    def test_memory_that_does_not_come_back_is_waited_for_in_vain_and_that_is_said(self):
        self.host.tell_of_gpus(*self.GPU, "gpu.0.memory_used 999000000")
        os.kill(self.dsd.runner_row()["pid"], signal.SIGKILL)
        self.dsd.wait_state("backoff")
        self.dsd.wait_state("ready")
        self.assertIn("1000000 bytes are free", self.dsd.log())


class SharedAndKnownToADriver(unittest.TestCase):
    def test_daemon_and_clients_call_the_gpu_by_the_same_name(self):
        host = self.enterContext(GpuHost(has_driver=True))
        host.tell_of_gpus("gpus 2", f"gpu.1.uuid {UUID}", "gpu.1.memory_total 20000000000",
                          "gpu.1.memory_used 0")
        dsd = self.enterContext(host.dsd(two_on_one().replace("gpu = 0", "gpu = 1")))

        def names():
            rows = [dsd.wait_state("ready", index) for index in (0, 1)]
            clients = {host.environment_of(row["pid"])["CUDA_VISIBLE_DEVICES"] for row in rows}
            return host.mps_starts()[-1]["environment"]["CUDA_VISIBLE_DEVICES"], clients
        self.assertIn(names(), [("1", {"0"}), (UUID, {UUID})])  # as the driver was read in time, or not
        wait_for(lambda: dsd.runner_row()["gpus"], "the driver to be read")
        os.kill(dsd.runner_row()["pid"], signal.SIGKILL)
        wait_for(lambda: len(host.mps_starts()) == 2, "a new MPS daemon")
        self.assertEqual(names(), (UUID, {UUID}))
        dsd.replace()
        os.kill(dsd.wait_state("ready")["pid"], signal.SIGKILL)
        wait_for(lambda: len(host.mps_starts()) == 3, "another one")
        self.assertEqual(names(), (UUID, {UUID}))


class OnASmallGpu(unittest.TestCase):
    """It has room for one runner."""

    def setUp(self):
        self.host = self.enterContext(GpuHost(has_driver=True))
        self.use(0)
        self.dsd = self.enterContext(self.host.dsd(alone()))
        self.dsd.wait_state("ready")
        wait_for(lambda: self.dsd.runner_row()["gpus"], "the driver to be read")

    def use(self, memory_bytes):
        self.host.tell_of_gpus("gpus 1", f"gpu.0.uuid {UUID}", "gpu.0.memory_total 40000000",
                               f"gpu.0.memory_used {memory_bytes}")

    def test_a_swap_drains_first_and_a_canary_is_refused(self):
        refused = harness.dsctl(self.dsd, "model", "canary", "tiny")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("no room for a canary beside", refused.stderr)
        self.assertEqual(harness.dsctl(self.dsd, "model", "swap", "tiny").returncode, 0)
        self.assertEqual(self.dsd.runner_row()["generation"], 2)

    def test_the_next_generation_starts_when_the_memory_of_the_last_is_seen_free(self):
        self.use(39000000)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            swap = pool.submit(harness.dsctl, self.dsd, "model", "swap", "tiny")
            wait_for(lambda: [(row["generation"], row["state"]) for row in self.dsd.runners()] ==
                     [(2, "backoff")], "the next generation to wait")
            self.use(0)
            self.assertEqual(swap.result().returncode, 0)
        self.assertNotIn("bytes are free", self.dsd.log())


if __name__ == "__main__":
    harness.main()
