"""Which integration tests the group vm runs at isolation level vm as well. Each costs the boot of a
machine, often two, so it is a choice: every verb, and every area of config.json once.
`tests/run --isolation vm integration` runs all."""

# Regular expressions, of whole names without the folder.
SELECTED = (
    r"test_run\.py::test_(streams|no_descriptor_but_three|death_by_fault.*)",
    r"test_exec\.py::test_(same_confinement|seccomp_applies|env_and_cwd|user.both.)",
)
