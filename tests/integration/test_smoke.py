def test_run(t):
    r = t.container().report()
    t.eq(r["pid"], 1, "pid")
    t.eq(r["hostname"], "bailey-test", "hostname")


def test_lifecycle(t):
    c = t.container("/probe", "sleep")
    t.ok(c.create())
    t.eq(c.status(), "created")
    t.ok(c.start())
    t.eq(c.status(), "running")
    t.eq(c.exec_report()["hostname"], "bailey-test")
    t.ok(c.kill("KILL"))
    c.wait_status("stopped")
    t.ok(c.delete())
