"""buildah with a store of its own, for one runtime: each RUN is a container."""
import os

from .container import must
from .engine import (IMAGE, Client, go_private, image_archive, need_programs, runtime_kind,
                     runtime_path, shared_dir)
from .podman import CONF


class Buildah(Client):
    def __init__(self, t, rt, network="none"):
        need_programs(t, "buildah")
        self.t, self.runtime, self.network = t, runtime_path(t, rt), network
        d = shared_dir(t, "buildah-" + runtime_kind(rt))
        go_private(t)
        policy = t.file("policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        conf = t.file("containers.conf", CONF)
        super().__init__(
            ["buildah", "--root", f"{d}/store", "--runroot", "/run/containers", "--storage-driver",
             "vfs"],
            {"PATH": os.environ["PATH"], "HOME": t.dir("home"), "CONTAINERS_CONF": conf})
        self.common = ["--isolation", "oci", "--runtime", self.runtime]
        self.policy = ["--signature-policy", policy]
        if self("inspect", "--type", "image", IMAGE).code != 0:
            must(self("pull", *self.policy, "docker-archive:" + image_archive(
                t, t.tmp + "/image.tar"), timeout=120))
        t.dir("context")

    def build(self, text, *opts):
        """The last image of a Dockerfile that starts from the tests' own; Result."""
        self.t.file("context/Dockerfile", f"FROM {IMAGE}\n{text}")
        return self("bud", *self.policy, *self.common, "--network", self.network, "--pull-never",
                    "-q", *opts, self.t.tmp + "/context", timeout=120)

    def container(self, image=IMAGE):
        n = must(self("from", *self.policy, "--pull-never", image)).out.strip()
        self.t.later(self, "rm", n)
        return n

    def run(self, name, *args, opts=(), **kw):
        return self("run", *self.common, "--network", self.network, *opts, name, "--", *args, **kw)
