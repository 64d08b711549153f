"""Pods by containerd's CRI plugin, as a kubelet asks for them."""
from .container import wait_for
from .cri import CallFailed, Cri, decode
from .engine import IMAGE, Containerd, slice_for

POD, CONTAINER, NODE = 0, 1, 2  # whose namespaces; with the host's, no network plugin is needed
RUNNING, EXITED = 1, 2


class Pods:
    """namespaces: the options of the pod and its containers, network, pid and ipc."""

    def __init__(self, t, rt, systemd=False, namespaces=((1, NODE),), cni=None):
        self.t, self.parent = t, slice_for(t) if systemd else "/" + t.mark
        self.namespaces = namespaces
        self.containerd = Containerd(t, rt, namespace="k8s.io", systemd=systemd, cni=cni)
        self.cri = Cri(self.containerd.socket, self.containerd.daemon.last_errors)
        self.call = self.cri.call
        wait_for("the CRI plugin", self._serves, 30)

    def _serves(self):
        try:
            return self.call("Version", (1, "v1"))
        except CallFailed:
            return False

    def run(self, hostname=""):
        """(id, sandbox configuration) of a pod."""
        config = ((1, ((1, "pod"), (2, self.t.mark), (3, "default"))), (2, hostname),
                  (3, self.t.tmp), (8, ((1, self.parent), (2, ((1, self.namespaces),)))))
        pod = self.call("RunPodSandbox", (1, config), (2, "tested"))[1][0]
        self.t.later(self.call, "RemovePodSandbox", (1, pod))
        self.t.later(self.call, "StopPodSandbox", (1, pod))
        return pod, config

    def container(self, pod, *command, name="a", resources=None):
        pod, config = pod
        linux = (((1, resources),) if resources else ()) + ((2, ((3, self.namespaces),)),)
        c = self.call("CreateContainer", (1, pod), (2, (
            (1, ((1, name),)), (2, ((1, IMAGE),)), *((3, a) for a in command),
            (6, ((1, "A"), (2, "b"))), (11, name + ".log"), (15, linux))), (3, config))[1][0]
        self.call("StartContainer", (1, c))
        return c

    def status(self, container):
        s = decode(self.call("ContainerStatus", (1, container))[1][0])
        return s.get(3, [0])[0], s.get(7, [0])[0]

    def exec(self, container, *command):
        r = self.call("ExecSync", (1, container), *((2, a) for a in command), (3, 20))
        return r.get(1, [b""])[0].decode(), r.get(3, [0])[0]
