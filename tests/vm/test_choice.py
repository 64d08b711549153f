"""Which level a container gets, and what level vm refuses before anything is made. Nothing is booted:
where a machine is what was chosen, there is no /dev/kvm, and the error says which level it was."""
import json
import os
import re
import subprocess

from lib import host, kernel, vm
from lib.container import must
from lib.testing import bailey_only, cases

ANNOTATION = "org.bailey.isolation"
OURS = bailey_only("isolation levels")
GIB = 1 << 30


def _level(c, no_kvm, *opts, env=None):
    """Of `create`: "vm" or "namespace"; fails on anything else."""
    kw = {"env": env} if env else {}
    r = c.create(*opts, preexec_fn=no_kvm, **kw)
    if r.code == 0:
        state = c.state()
        must(c.delete("--force"))
        return state.get("isolation")
    if "isolation level vm: open /dev/kvm" in r.err and "firmware" in r.err:
        return "vm"
    raise AssertionError(str(r))


@OURS
@vm.without_kvm
def test_strongest_word_counts(t):
    """Flag, annotation, vm section, configuration file, in this order."""
    no_kvm = vm.dev_without_kvm(t)
    by_file = {level: {**os.environ, "BAILEY_CONFIG": t.file(
        f"{level}.json", json.dumps({"isolation": level}))} for level in ("namespace", "vm")}
    c = t.container("/bin/true")
    t.eq(_level(c, no_kvm, env=by_file["namespace"]), "namespace", "the file's namespace")
    t.eq(_level(c, no_kvm, env=by_file["vm"]), "vm", "the file's vm")
    c.config["vm"] = {"kernel": {"path": "/vmlinuz"}}
    t.eq(_level(c, no_kvm, env=by_file["namespace"]), "vm", "the vm section")
    for level in ("namespace", "vm"):
        c.config["annotations"] = {ANNOTATION: level}
        t.eq(_level(c, no_kvm, env=by_file["vm"]), level, "the annotation")
    t.eq(_level(c, no_kvm, "--isolation", "namespace"), "namespace", "the flag")
    c.config["annotations"] = {ANNOTATION: "namespace"}
    t.eq(_level(c, no_kvm, "--isolation=vm"), "vm", "the flag")


@OURS
@vm.without_kvm
def test_program_name(t):
    """For engines that take nothing but a path."""
    no_kvm = vm.dev_without_kvm(t)
    link = os.path.join(t.dir("bin"), "bailey-vm")
    os.symlink(t.runtime.path, link)
    t.runtime.path = link
    c = t.container("/bin/true")
    t.eq(_level(c, no_kvm), "vm")
    c.config["annotations"] = {ANNOTATION: "namespace"}
    t.eq(_level(c, no_kvm), "namespace", "the annotation is stronger")


@OURS
@vm.without_kvm
def test_pods(t):
    """The sandbox is on the host, whatever the program's name; a container may join what engines
    always share in a pod."""
    no_kvm = vm.dev_without_kvm(t)
    link = os.path.join(t.dir("bin"), "bailey-vm")
    os.symlink(t.runtime.path, link)
    t.runtime.path = link
    for key in ("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"):
        c = t.container("/bin/true")
        c.config["annotations"] = {key: "sandbox"}
        t.eq(_level(c, no_kvm), "namespace")
        c.config["annotations"][ANNOTATION] = "vm"
        t.eq(_level(c, no_kvm), "vm", "its own word is stronger")
        c.config["annotations"] = {key: "container"}
        for type_ in ("uts", "ipc"):
            c.config.namespace(type_, f"/proc/self/ns/{type_}")
        t.eq(_level(c, no_kvm), "vm")


@OURS
@vm.without_kvm
def test_bad_words(t):
    c = t.container("/bin/true")
    t.fails(c.create("--isolation=kvm"), "--isolation", "kvm", "must be namespace or vm", code=1)
    c.config["annotations"] = {ANNOTATION: "VM"}
    t.fails(c.create(), "config.json", ANNOTATION, "VM", code=1)
    del c.config["annotations"]
    for text in ('{"isolation": "x"}', '{"isolation": 1}', '{"other": 1}', "{", "[]",
                 '{"vm": {"vcpus": 33}}', '{"vm": {"memory": -1}}', '{"vm": {"kernel": 1}}'):
        env = {**os.environ, "BAILEY_CONFIG": t.file("bad.json", text)}
        t.fails(c.create(env=env), "bad.json", code=1)
    env["BAILEY_CONFIG"] = os.path.join(t.tmp, "nosuch.json")
    t.fails(c.create(env=env), "nosuch.json", code=1)


@OURS
@vm.without_kvm
def test_no_kvm(t):
    """Said with the remedy, before anything is made, and no container of the other level instead."""
    c = t.container("/bin/true")
    no_kvm = vm.dev_without_kvm(t)
    for verb in (c.create, c.run):
        t.fails(verb("--isolation=vm", preexec_fn=no_kvm), "/dev/kvm", "no such file", "firmware",
                code=1)
    t.fails(c.verb("state", c.id), "does not exist", code=1)


@OURS
@vm.without_kvm
def test_no_permission(t):
    """A user who is not in the group kvm."""
    enter = vm.dev_without_kvm(t, kvm_mode=0o600)
    c = t.container("/bin/true", runtime=t.as_user(), cgroups_path=False)
    c.config.rootless(host.TEST_UID, host.TEST_UID).namespace("network")
    c.bundle.chown(host.TEST_UID, host.TEST_UID)
    os.chown(c.bundle.path, host.TEST_UID, host.TEST_UID)
    c.bundle.write_config()
    r = subprocess.run(["setpriv", f"--reuid={host.TEST_UID}", f"--regid={host.TEST_UID}",
                        "--clear-groups", *c.runtime.argv("create", "--isolation=vm", "--bundle",
                                                          c.bundle.path, c.id)],
                       env=c.runtime.environ, preexec_fn=enter, capture_output=True, text=True,
                       stdin=subprocess.DEVNULL, timeout=30, check=False)
    t.eq(r.returncode, 1, r.stderr)
    t.has(r.stderr, "/dev/kvm")
    t.has(r.stderr, "permission denied")
    t.has(r.stderr, "usermod -aG kvm")


def _without(type_):
    return lambda c, t: c.config.without_namespace(type_)


def _joined(type_):
    return lambda c, t: c.config.namespace(type_, f"/proc/self/ns/{type_}")


def _in_pod(type_):
    def set_(c, t):
        c.config["annotations"] = {"io.kubernetes.cri.container-type": "container"}
        c.config.namespace(type_, f"/proc/self/ns/{type_}")
    return set_


def _device(c, t):
    c.config.linux["devices"] = [{"path": "/dev/blk", "type": "b", "major": 7, "minor": 0}]


def _listener(c, t):
    c.config.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x",
                                 "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}


def _vm(**section):
    def set_(c, t):
        c.config["vm"] = {"kernel": {"path": "/vmlinuz"}, **section}
    return set_


def _small_for_its_limit(c, t):
    c.config["vm"] = {"kernel": {"path": "/vmlinuz"}, "hwConfig": {"memory": 256 << 20}}
    c.config.linux["resources"]["memory"] = {"limit": GIB}


@OURS
@vm.without_kvm
@cases(
    host_pid=(_without("pid"), (), ("pid", "is missing")),
    host_net=(_without("network"), (), ("network", "is missing")),
    host_ipc=(_without("ipc"), (), ("ipc", "is missing")),
    joined_ipc=(_joined("ipc"), (), ("/proc/self/ns/ipc", "cannot be joined")),
    joined_uts=(_joined("uts"), (), ("/proc/self/ns/uts", "cannot be joined")),
    joined_pid_in_pod=(_in_pod("pid"), (), ("/proc/self/ns/pid", "cannot be joined")),
    own_network=(lambda c, t: c.config.namespace("network", "/proc/self/ns/net"), (),
                 ("/proc/self/ns/net", "one of its own")),
    device=(_device, (), (".linux.devices[0]", "/dev/blk", "b 7:0")),
    listener=(_listener, (), ("listenerPath", "/run/x")),
    no_pivot=(None, ("--no-pivot",), ("--no-pivot",)),
    parameter=(_vm(kernel={"path": "/k", "parameters": ["a\nb"]}), (),
               (".vm.kernel.parameters[0]",)),
    vcpus=(_vm(hwConfig={"vcpus": 33}), (), ("vcpus", "33", "1 to 32")),
    memory=(_vm(hwConfig={"memory": 8 << 20}), (), (".vm.hwConfig.memory", "at least 134217728")),
    small=(_small_for_its_limit, (), (".vm.hwConfig.memory", "268435456", "at least",
                                      ".linux.resources.memory.limit")))
def test_refused(t, change, opts, texts):
    """With the property's name, by create and run, and nothing is left."""
    c = t.container("/bin/true")
    if change:
        change(c, t)
    for verb in (c.create, c.run):
        t.fails(verb("--isolation=vm", *opts), *texts, code=1)
    t.fails(c.verb("state", c.id), "does not exist")


@OURS
@vm.without_kvm
def test_features(t):
    no_kvm = vm.dev_without_kvm(t)
    have = must(t.runtime("features", preexec_fn=no_kvm)).json()["annotations"]
    t.eq(have["org.bailey.isolation.levels"], "namespace,vm")
    t.has(have["org.bailey.isolation.vm"], "/dev/kvm", "why there are none")


@OURS
def test_features_where_there_are_machines(t):
    have = must(t.runtime("features")).json()["annotations"]
    t.eq(have["org.bailey.isolation.vm"], "available")


@OURS
@vm.without_kvm
def test_kvm_without_the_processors_help(t):
    """As under PVM: /dev/kvm opens, and no unmodified kernel would ever run."""
    t.need(os.access("/dev/kvm", os.R_OK | os.W_OK), "no /dev/kvm")
    with open("/proc/cpuinfo", encoding="ascii") as f:
        text = re.sub(r"\b(vmx|svm)\b", "", f.read())
    fake = t.file("cpuinfo", text)

    def enter():
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount(fake, "/proc/cpuinfo", None, kernel.MS_BIND)
    have = must(t.runtime("features", preexec_fn=enter)).json()["annotations"]
    t.has(have["org.bailey.isolation.vm"], "neither vmx nor svm")
    c = t.container("/bin/true")
    t.fails(c.create("--isolation=vm", preexec_fn=enter), "/dev/kvm", "neither vmx nor svm", code=1)
    t.fails(c.verb("state", c.id), "does not exist", code=1)
