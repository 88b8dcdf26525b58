"""What dsd tells of GPUs, with a driver that a test makes slow, forgetful, or takes away."""

import json
import os
import re
import subprocess
import time
import unittest

import gpu_host
import harness
from harness import dsctl, wait_for

GIB = 1 << 30
UUID = "GPU-8f3a0000-1111-2222-3333-44445555abcd"
TWO_GPUS = ("gpus 2", f"gpu.0.uuid {UUID}", "gpu.0.name NVIDIA H200", f"gpu.0.memory_total {140 * GIB}",
            f"gpu.0.memory_used {20 * GIB}", "gpu.0.temperature 61", "gpu.0.utilization 75",
            "gpu.0.memory_utilization 40", "gpu.0.power 412500", "gpu.0.ecc_corrected 3", "gpu.1.uuid GPU-b")


class GpuTelemetry(unittest.TestCase):
    def setUp(self):
        self.host = self.enterContext(gpu_host.GpuHost(has_mps=False, has_driver=True))
        self.host.tell_of_gpus(*TWO_GPUS)

    def serve(self):
        dsd = self.enterContext(self.host.dsd(gpu_host.device("gpu0") + gpu_host.model("tiny", "gpu0")))
        wait_for(lambda: self.gpu(dsd)["state"] == "ready", "the first reading")
        return dsd

    def gpu(self, dsd, index=0):
        gpus = dsd.control("GET", "/ctl/status").json["gpus"]
        return gpus[index] if gpus else {"state": "not known yet"}

    def metrics(self, dsd):
        """Name and labels -> value, of the GPUs."""
        text = dsd.control("GET", "/metrics").text
        return dict(re.findall(r"^deepserve_(gpu_\S+) (\S+)$", text, re.MULTILINE))

    def test_metrics_status_and_runner_show_tell_what_the_driver_does(self):
        dsd = self.serve()
        labels = '{gpu="0",uuid="%s"}' % UUID
        found = self.metrics(dsd)
        self.assertEqual(found["gpu_temperature_celsius" + labels], "61")
        self.assertEqual(found["gpu_power_watts" + labels], "412.5")
        self.assertEqual(float(found["gpu_memory_used_bytes" + labels]), 20 * GIB)
        self.assertEqual(found['gpu_answers{gpu="1",uuid="GPU-b"}'], "1")
        self.assertNotIn('gpu_temperature_celsius{gpu="1",uuid="GPU-b"}', found)
        shown = json.loads(dsctl(dsd, "runner", "show", "tiny@gpu0").stdout)
        self.assertEqual([gpu["uuid"] for gpu in shown["gpus"]], [UUID])
        text = dsctl(dsd, "status", options=("--no-color",)).stdout
        self.assertRegex(text, r"0 +NVIDIA H200 +ready +20.0 GiB +140.0 GiB +75 % +61 C +412 W")
        self.host.tell_of_gpus(*TWO_GPUS, "gpu.0.temperature 83")
        wait_for(lambda: self.gpu(dsd)["temperature_celsius"] == 83, "the next reading")

    def test_a_slow_driver_does_not_hold_up_the_loop(self):
        dsd = self.serve()
        self.host.tell_of_gpus(*TWO_GPUS, "delay_ms 300")
        wait_for(lambda: self.gpu(dsd)["age_s"] > 1.5, "a reading that takes long")
        took_s = []
        for _ in range(100):
            begun = time.monotonic()
            self.assertEqual(dsd.control("GET", "/healthz").status, 200)
            took_s.append(time.monotonic() - begun)
        took_s.sort()
        print(f"/healthz beside calls of 300 ms: median {took_s[50] * 1e3:.2f} ms, "
              f"p95 {took_s[95] * 1e3:.2f} ms, worst {took_s[99] * 1e3:.2f} ms")
        self.assertLess(took_s[95], 0.1, took_s)

    def test_a_driver_that_hangs_is_said_and_does_not_keep_dsd_from_ending(self):
        dsd = self.serve()
        self.host.tell_of_gpus(*TWO_GPUS, "delay_ms 300000")
        wait_for(lambda: self.gpu(dsd)["state"] == "failed", "the last reading to be old")
        self.assertEqual(self.gpu(dsd)["trouble"], "its driver does not answer")
        wait_for(lambda: self.metrics(dsd)['gpu_answers{gpu="1",uuid="GPU-b"}'] == "0",
                 "that of the other GPU, which came a little later, to be old too")
        refused = dsctl(dsd, "daemon", "reexec")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("the GPUs' driver", refused.stderr + refused.stdout)
        dsd.process.terminate()
        self.assertEqual(dsd.process.wait(harness.BOUND_S), 0)
        self.assertIn("the GPU driver does not answer: ending without it", dsd.log())

    def test_an_upgrade_waits_for_the_driver_and_reads_on(self):
        dsd = self.serve()
        upgraded = dsctl(dsd, "daemon", "reexec")
        self.assertEqual(upgraded.returncode, 0, upgraded.stderr)
        wait_for(lambda: self.gpu(dsd)["state"] == "ready", "a reading by the new program")

    def test_a_lost_gpu_is_said_once_and_the_other_is_read_on(self):
        dsd = self.serve()
        self.host.tell_of_gpus(*TWO_GPUS, "gpu.0.error 15")
        wait_for(lambda: self.gpu(dsd)["state"] == "failed", "the loss to be seen")
        self.assertIn("GPU is lost", self.gpu(dsd)["trouble"])
        self.assertEqual(self.gpu(dsd, 1)["state"], "ready")
        age_s = self.gpu(dsd)["age_s"]
        wait_for(lambda: self.gpu(dsd)["age_s"] < age_s, "another reading")
        self.assertEqual(dsd.log().count(f"GPU 0 ({UUID}) does not answer"), 1)
        self.assertEqual(self.metrics(dsd)['gpu_answers{gpu="0",uuid="%s"}' % UUID], "0")
        self.host.tell_of_gpus(*TWO_GPUS)
        wait_for(lambda: self.gpu(dsd)["state"] == "ready", "the GPU to be back")

    def test_an_xid_is_counted_and_logged(self):
        dsd = self.serve()
        self.host.tell_of_gpus(*TWO_GPUS, "xid 1 4242", "xid 1 4242")
        name = 'gpu_xid_errors_total{gpu="1",uuid="GPU-b",xid="4242"}'
        wait_for(lambda: self.metrics(dsd).get(name) == "2", "both events")
        self.assertEqual(self.gpu(dsd, 1)["xids"], {"4242": 2})
        self.assertIn("GPU 1 (GPU-b): Xid 4242", dsd.log())


class NoDriver(unittest.TestCase):
    def test_it_is_said_once_and_the_gpu_served_all_the_same(self):
        host = self.enterContext(gpu_host.GpuHost(has_mps=False))
        dsd = self.enterContext(host.dsd(gpu_host.device("gpu0") + gpu_host.model("tiny", "gpu0")))
        dsd.wait_ready()
        wait_for(lambda: "nothing is known of them" in dsd.log(), "dsd to say so")
        self.assertEqual(dsd.control("GET", "/ctl/status").json["gpus"], [])
        self.assertEqual(dsd.log().count("nothing is known of them"), 1)

    def test_a_host_without_gpus_in_its_configuration_hears_nothing_of_them(self):
        self.enterContext(gpu_host.GpuHost(has_mps=False))
        with harness.Dsd(harness.DEVICE + harness.model_toml()) as dsd:
            dsd.wait_ready()
            self.assertNotIn("GPU", dsd.log())


class Check(unittest.TestCase):
    def check(self, host, device, *options):
        path = os.path.join(host.directory, "deepserve.toml")
        with open(path, "w") as file:
            file.write(device + gpu_host.model("tiny", "gpu0"))
        command = [harness.program("dsctl"), *options, "config", "check", path]
        return subprocess.run(command, capture_output=True, text=True, timeout=harness.BOUND_S, check=False)

    def test_what_the_driver_knows_better_is_refused_at_its_place(self):
        host = self.enterContext(gpu_host.GpuHost(has_mps=False, has_driver=True))
        host.tell_of_gpus(*TWO_GPUS)
        for device, says in ((gpu_host.device("gpu0", 2), ":4:7: device.gpu: there is no GPU 2; there are: "
                              f"0 {UUID} NVIDIA H200, 1 GPU-b"),
                             (gpu_host.device("gpu0", UUID[:-1] + "0"), ":4:7: device.gpu: there is no GPU"),
                             (gpu_host.device("gpu0", 0, memory_limit="141GiB"),
                              ":5:16: device.memory_limit: 141.00 GiB is more than the 140.00 GiB")):
            checked = self.check(host, device)
            self.assertEqual(checked.returncode, 1)
            self.assertIn(says, checked.stderr)
        self.assertEqual(self.check(host, gpu_host.device("gpu0", UUID, memory_limit="140GiB")).returncode, 0)
        two = [gpu_host.device(name, 0, memory_limit="100GiB") for name in ("gpu0", "gpu1")]
        together = self.check(host, "".join(two))
        self.assertEqual(together.returncode, 0, together.stderr)
        self.assertIn("warning: device.memory_limit: with 'gpu0' the limits are 200.00 GiB together",
                      together.stderr)
        host.tell_of_gpus(*TWO_GPUS, "driver_version 535.104", "cuda_version 12020")
        old = self.check(host, gpu_host.device("gpu0"))
        self.assertEqual(old.returncode, 1)
        self.assertIn("driver 535.104 is too old: it runs CUDA 12.2, and 13.0 is needed", old.stderr)

    def test_dsd_does_not_start_with_a_gpu_that_is_not_there(self):
        host = self.enterContext(gpu_host.GpuHost(has_mps=False, has_driver=True))
        host.tell_of_gpus(*TWO_GPUS)
        with self.assertRaisesRegex(AssertionError, "there is no GPU 2"):
            host.dsd(gpu_host.device("gpu0", 2) + gpu_host.model("tiny", "gpu0"))

    def test_dsd_starts_although_the_driver_hangs(self):
        host = self.enterContext(gpu_host.GpuHost(has_mps=False, has_driver=True))
        host.tell_of_gpus(*TWO_GPUS, "delay_ms 300000")
        dsd = self.enterContext(host.dsd(gpu_host.device("gpu0") + gpu_host.model("tiny", "gpu0")))
        dsd.wait_ready()
        self.assertIn("cannot be checked: the GPU driver has not answered within 3000 ms", dsd.log())

    def test_without_a_driver_it_says_that_it_could_not_look(self):
        host = self.enterContext(gpu_host.GpuHost(has_mps=False))
        checked = self.check(host, gpu_host.device("gpu0", 7))
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn(":4:7: warning: device.gpu: cannot be checked: there is no NVIDIA", checked.stderr)
        as_json = json.loads(self.check(host, gpu_host.device("gpu0", 7), "--json").stdout)
        self.assertTrue(as_json["ok"])
        self.assertEqual([warning["line"] for warning in as_json["warnings"]], [4])


if __name__ == "__main__":
    harness.main()
