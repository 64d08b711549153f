"""Which integration tests the group vm runs at isolation level vm as well. Each costs the boot of a
machine, often two, so it is a choice: every verb, and every area of config.json once.
`tests/run --isolation vm integration` runs all."""

# Regular expressions, of whole names without the folder.
SELECTED = (
    r"test_lifecycle\.py::test_(statuses|payload_waits_for_start|run_removes|run_detach)",
    r"test_lifecycle\.py::test_(init_reparents.*|payload_exit.*|kill_signal.*|kill_default.*)",
    r"test_lifecycle\.py::test_(kill_created|start_twice|stopped_container_refuses)",
    r"test_lifecycle\.py::test_(delete_running_refused|delete_force.(created|running).)",
    r"test_run\.py::test_(streams|no_descriptor_but_three|death_by_fault.*)",
    r"test_mounts\.py::test_(default_mounts|nothing_of_the_host|bind|bind_file|tmpcopyup)",
    r"test_mounts\.py::test_sysfs_and_proc_views",
    r"test_mounts\.py::test_(attributes.all.|order_and_cover|destination_through_symlink)",
    r"test_hooks\.py::test_failure_of_(start_container|poststart_ends_the_container)",
    r"test_terminal\.py::test_(console_socket|facts|resize|foreground|exec_terminal)",
    r"test_exec\.py::test_(same_confinement|seccomp_applies|env_and_cwd|user.both.)",
)
