#include "runtime/procstat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"

#define REST " 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21\n"
#define TAIL " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21\n"

TEST(lines)
{
	struct procstat st = { 0 };

	CHECK_INT(procstat_parse("77 (sh) S" TAIL, &st), 0);
	CHECK(st.state == 'S' && st.start_time == 4242 && !st.kernel_thread);
	CHECK_INT(procstat_parse("2 (kvm) I 1 2 3 4 5 2129984" REST, &st), 0);
	CHECK(st.kernel_thread);
	CHECK_INT(procstat_parse("2 (kvm) I 1 2 2129984 4 5 6" REST, &st), 0);
	CHECK(!st.kernel_thread);
	CHECK_INT(procstat_parse("2 (kvm) I 1 2 3 4 5 x" REST, &st), -EBADMSG);
	/* A process may call itself anything. */
	CHECK_INT(procstat_parse("77 (a) R 9 9) (b)) Z" TAIL, &st), 0);
	CHECK(st.state == 'Z' && st.start_time == 4242);
	for (const char *const *s =
		 (const char *const[]){ "", "77", "77 (sh)", "77 (sh) ", "77 (sh) S 1 2 3",
		     "77 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 -5 20", NULL };
	     *s; s++)
		CHECK_INT(procstat_parse(*s, &st), -EBADMSG);
	CHECK(st.start_time == 4242);
}

TEST(processes)
{
	struct procstat self, child;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	CHECK_INT(procstat_read(getpid(), &self), 0);
	CHECK(self.state == 'R' && self.start_time > 0 && !self.kernel_thread);
	siginfo_t info;
	CHECK_INT(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	CHECK_INT(procstat_read(pid, &child), 0);
	CHECK(child.state == 'Z' && child.start_time >= self.start_time);
	waitpid(pid, NULL, 0);
	CHECK_INT(procstat_read(pid, &child), -ESRCH);
}

TEST_MAIN(T(lines), T(processes))
