"""A model spread over two runner processes: served as by one, and as hard to stop."""

import os
import signal
import subprocess
import unittest

import harness
from harness import MANY, Dsd, greedy


def devices(count):
    return "".join(f'[[device]]\nname = "cpu{i}"\nkind = "cpu"\ncores = [{i % os.cpu_count()}]\n'
                   for i in range(count))


def config(count=2, ranks=2, supervise=""):
    names = [f"cpu{i}" for i in range(count)]
    return (f"[supervise]\n{supervise}\n" + devices(count) +
            harness.model_toml(devices=names, extra=f"tensor_parallel = {ranks}\n"))


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TensorParallel(unittest.TestCase):
    def start(self, **options):
        dsd = self.enterContext(Dsd(config(**options)))
        dsd.wait_ready()
        return dsd

    def pids(self, dsd):
        return [rank["pid"] for rank in dsd.runner_row()["ranks"]]

    def complete(self, dsd, **more):
        answer = dsd.api("POST", "/v1/completions", greedy(**more))
        self.assertEqual(answer.status, 200, answer.text)
        return answer.json["choices"][0]["text"]

    def test_two_ranks_are_one_runner_that_shows_both(self):
        dsd = self.start()
        row, = dsd.runners()
        self.assertEqual(row["id"], "tiny@cpu0+cpu1")
        self.assertEqual(row["device"], "cpu0+cpu1")
        self.assertEqual([rank["device"] for rank in row["ranks"]], ["cpu0", "cpu1"])
        self.assertEqual(row["ranks"][0]["pid"], row["pid"])
        self.assertTrue(all(lives(rank["pid"]) for rank in row["ranks"]))
        self.assertIn("-r2-", row["numerics_id"])
        shown = harness.dsctl(dsd, "runner", "show", "tiny@cpu0+cpu1", options=()).stdout
        for rank in row["ranks"]:
            self.assertIn(str(rank["pid"]), shown)
        # Rank 1 has the memory of its group, and neither the lane nor dsd's socket.
        held = {os.readlink(f"/proc/{row['ranks'][1]['pid']}/fd/{fd}")
                for fd in os.listdir(f"/proc/{row['ranks'][1]['pid']}/fd")}
        self.assertFalse([name for name in held if "deepserve-lane" in name or name.startswith("socket:")])

    def test_the_text_is_the_same_from_run_to_run_and_on_every_group_of_that_size(self):
        dsd = self.start(count=4)
        rows = dsd.runners()
        self.assertEqual([row["id"] for row in rows], ["tiny@cpu0+cpu1", "tiny@cpu2+cpu3"])
        dsd.wait_state("ready", 0), dsd.wait_state("ready", 1)
        rows = dsd.runners()
        self.assertEqual(rows[0]["numerics_id"], rows[1]["numerics_id"])
        streams = [dsd.stream(greedy(tokens=300)) for _ in range(2)]
        harness.wait_for(lambda: {row["runner"] for row in dsd.requests()} == {row["id"] for row in rows}
                         or not dsd.requests(), "a request on each group")
        texts = [stream.text() for stream in streams]
        self.assertTrue(all(stream.done for stream in streams))
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(self.complete(dsd, tokens=300), texts[0])

    def test_the_text_does_not_depend_on_who_else_is_served(self):
        dsd = self.start()
        expected = self.complete(dsd, tokens=200)
        prompts = [greedy(prompt=f"Number {i} " * (i * 7 + 1), tokens=60, temperature=1.0, seed=i)
                   for i in range(6)]
        streams = [dsd.stream(body) for body in prompts]
        self.assertEqual(self.complete(dsd, tokens=200), expected)
        for stream in streams:
            stream.text()
            self.assertTrue(stream.done)

    def lose_rank_while_streaming(self, rank):
        dsd = self.start()
        expected = self.complete(dsd, tokens=600)
        old = self.pids(dsd)
        stream = dsd.stream(greedy(tokens=600, n=MANY)).begin()
        harness.send(old[rank], signal.SIGKILL)
        choices = stream.choices()
        self.assertIsNone(stream.error, dsd.runners())
        self.assertEqual(choices, [expected] * MANY)
        self.assertTrue(stream.done)
        row = dsd.wait_state("ready")
        self.assertEqual(row["restarts"], 1)
        self.assertEqual(row["last_error"], f"rank {rank} of 2: was killed from outside (SIGKILL)")
        self.assertFalse(set(old) & set(self.pids(dsd)))
        self.assertFalse([pid for pid in old if lives(pid)])

    def test_a_killed_rank_0_restarts_the_group_and_its_stream_goes_on(self):
        self.lose_rank_while_streaming(0)

    def test_a_killed_rank_1_restarts_the_group_and_its_stream_goes_on(self):
        self.lose_rank_while_streaming(1)

    def test_kills_of_idle_ranks_never_fail_a_group(self):
        dsd = self.start(supervise="deaths_max = 2")
        for i in range(8):
            old = dsd.wait_state("ready")
            harness.send(old["ranks"][i % 2]["pid"], signal.SIGKILL)
            harness.wait_for(lambda: dsd.runner_row()["restarts"] == i + 1, "the restart")
        dsd.wait_state("ready")
        self.assertEqual(self.complete(dsd, tokens=5), self.complete(dsd, tokens=5))

    def test_a_stopped_rank_1_is_a_hung_group_and_its_stream_goes_on(self):
        dsd = self.start(supervise='hang_after = "3s"')  # a busy host may hold up two ranks for one
        expected = self.complete(dsd, tokens=600)
        old = self.pids(dsd)
        stream = dsd.stream(greedy(tokens=600, n=32))  # more than is said before the stop
        texts = [""] * 32
        for number, event in enumerate(stream.events()):
            if number == 0:
                harness.send(old[1], signal.SIGSTOP)
            for choice in event["choices"]:
                texts[choice["index"]] += choice["text"]
        self.assertTrue(stream.done, stream.error)
        self.assertEqual(texts, [expected] * 32)
        dsd.wait_state("ready")
        self.assertFalse([pid for pid in old if lives(pid)])

    def test_an_operator_restarts_and_stops_all_ranks(self):
        dsd = self.start()
        old = self.pids(dsd)
        restarted = dsd.control("POST", "/ctl/runners/tiny@cpu0+cpu1/restart")
        self.assertEqual(restarted.status, 200, restarted.text)
        self.assertFalse([pid for pid in old if lives(pid)])
        new = self.pids(dsd)
        dsd.process.send_signal(signal.SIGTERM)
        self.assertEqual(dsd.process.wait(harness.BOUND_S), 0)
        self.assertFalse([pid for pid in new if lives(pid)])

    def test_after_a_kill_of_dsd_the_next_one_has_all_ranks_and_ends_them(self):
        dsd = self.start()
        old = self.pids(dsd)
        dsd.replace()
        dsd.wait_ready()
        self.assertEqual(self.pids(dsd), old)
        self.assertEqual(dsd.runner_row()["restarts"], 0)
        dsd.process.send_signal(signal.SIGTERM)
        self.assertEqual(dsd.process.wait(harness.BOUND_S), 0)
        self.assertFalse([pid for pid in old if lives(pid)])

    def test_ranks_that_no_dsd_comes_for_end_together(self):
        dsd = self.start(supervise='orphan_limit = "300ms"')
        old = self.pids(dsd)
        dsd.process.kill()
        dsd.process.wait()
        harness.wait_for(lambda: not [pid for pid in old if lives(pid)], "the ranks' end")

    def test_a_model_that_cannot_be_spread_so_far_is_failed_with_the_numbers(self):
        dsd = self.enterContext(Dsd(config(count=8, ranks=8)))
        row = dsd.wait_state("failed")
        self.assertIn("4 key-value heads cannot be spread over 8 ranks", row["last_error"])
        self.assertEqual(row["restarts"], 0)

    def test_a_command_that_loses_a_rank_says_so_and_ends(self):
        words = [harness.program("ds-runner"), "generate", harness.tiny_model(), "--prompt", "Once",
                 "--max-tokens", "1000", "--ignore-eos", "--tensor-parallel", "2"]
        command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        command.stdout.read(20)
        with open(f"/proc/{command.pid}/task/{command.pid}/children") as file:
            other, = file.read().split()
        harness.send(int(other), signal.SIGKILL)
        _, errors = command.communicate(timeout=harness.BOUND_S)
        self.assertNotEqual(command.returncode, 0)
        self.assertRegex(errors, rf"rank 1 of 2 \(pid {other}\) has died")


if __name__ == "__main__":
    harness.main()
