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
    r"test_hooks\.py::test_(order_and_state|host_paths_stay_on_the_host)",
    r"test_terminal\.py::test_(console_socket|facts|resize|foreground|exec_terminal)",
    r"test_exec\.py::test_(same_confinement|seccomp_applies|env_and_cwd|user.both.|caps_option)",
    r"test_caps\.py::test_(root.root.|ambient_user.host.)",
    r"test_seccomp\.py::test_(filter_mode|kill.thread.)",
    r"test_paths\.py::test_(masked_file|default_devices|devices_work|extra_devices)",
    r"test_limits\.py::test_(config.pids.|option.(memory|cpu_quota).)",
    r"test_limits\.py::test_(check_before_update|oom_kill_is_the_exit_code|update_enables.*)",
    r"test_cgroup\.py::test_(kill_paused|frozen_by_others_is_paused)",
    r"test_process\.py::test_(rlimit.nofile.|env_is_exactly_the_config|oom_score.high.)",
    r"test_namespaces\.py::test_(devices|mounts)_in_user_namespace",
    r"test_namespaces\.py::test_(bad_maps.unmapped_user.|exec_as_a_user_that_is_not_mapped)",
    r"test_rootless\.py::test_own_network_namespace",
    r"test_run\.py::test_signals_reach_the_payload",
)
