/*
 * Rules that contradict each other: one call, some value of its arguments that fulfils two rules
 * with different actions. The specification does not say which one wins. Engines' profiles are
 * written against libseccomp, whose answer follows from the order in which it sorts comparisons
 * and which refuses some contradictions; so it is asked itself, for these calls alone. What it
 * writes is a whole filter of its own, and becomes a block. It works in a process of its own, with
 * a limit: some contradictions lead it into an endless loop.
 */
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "security/seccomp_internal.h"

#define CPU_SECONDS 2

static void ctx_freep(scmp_filter_ctx *c)
{
	if (*c)
		seccomp_release(*c);
}
#define _cleanup_ctx_ _cleanup_(ctx_freep)

/* The kernel's numbers of these actions are libseccomp's, too. */
static int rule_add(scmp_filter_ctx ctx, const struct seccomp_call *call)
{
	static const enum scmp_compare operators[] = {
		[CMP_NE] = SCMP_CMP_NE,
		[CMP_LT] = SCMP_CMP_LT,
		[CMP_LE] = SCMP_CMP_LE,
		[CMP_EQ] = SCMP_CMP_EQ,
		[CMP_GE] = SCMP_CMP_GE,
		[CMP_GT] = SCMP_CMP_GT,
		[CMP_MASKED_EQ] = SCMP_CMP_MASKED_EQ,
	};
	const struct spec_seccomp_rule *spec = call->rule->spec;
	int nr = seccomp_syscall_resolve_name(call->name), r = 0;
	struct scmp_arg_cmp cmp[6];

	if (spec->args.n == 0)
		return seccomp_rule_add_array(ctx, call->rule->action, nr, 0, NULL);
	for (size_t i = 0; i < spec->args.n && r == 0; i++) {
		const struct spec_seccomp_arg *a = &spec->args.v[i];
		struct scmp_arg_cmp c = { .arg = a->index,
			.op = operators[a->op],
			.datum_a = a->value,
			.datum_b = a->value_two };

		if (call->rule->alternatives)
			r = seccomp_rule_add_array(ctx, call->rule->action, nr, 1, &c);
		else
			cmp[i] = c;
	}
	if (!call->rule->alternatives)
		r = seccomp_rule_add_array(
		    ctx, call->rule->action, nr, (unsigned)spec->args.n, cmp);
	return r;
}

static int write_program(const struct seccomp_profile *p, const struct seccomp_arch *arch,
    struct seccomp_call *const *calls, size_t n, int fd, struct err *e)
{
	_cleanup_ctx_ scmp_filter_ctx ctx = seccomp_init(p->default_action);
	uint32_t native = seccomp_arch_native();
	int r = 0;

	if (!ctx)
		return err_set(e, EINVAL, ".linux.seccomp.defaultAction: refused by libseccomp");
	if (arch->token != native) {
		r = seccomp_arch_remove(ctx, native);
		if (r == 0)
			r = seccomp_arch_add(ctx, arch->token);
	}
	/* Without a tree libseccomp 2.5 forgets to load the call's number where a call that the
	 * architecture does not have comes first. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r < 0)
		return err_errno(e, -r, ".linux.seccomp: preparing for %s", arch->name);
	for (size_t i = 0; i < n; i++) {
		/* A name for both a multiplexer and a direct number is there twice. */
		if (i > 0 && calls[i]->order == calls[i - 1]->order)
			continue;
		r = rule_add(ctx, calls[i]);
		if (r < 0)
			return err_errno(e, -r,
			    ".linux.seccomp: a rule for \"%s\" contradicts an earlier one for %s",
			    calls[i]->name, arch->name);
	}
	r = seccomp_export_bpf(ctx, fd);
	return r < 0 ? err_errno(e, -r, ".linux.seccomp: compiling for %s", arch->name) : 0;
}

static int limit_itself(void)
{
	const struct rlimit cpu = { .rlim_cur = CPU_SECONDS, .rlim_max = CPU_SECONDS };

	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CPU, &cpu) < 0 ? -errno
											 : 0;
}

/* The child's error comes as a datagram; none, and it died: of its limit. */
static int outcome(pid_t pid, int sock, const char *call, const char *arch, struct err *e)
{
	struct err told = ERR_INIT;
	ssize_t n = recv(sock, &told, sizeof(told), 0);
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (n == sizeof(told)) {
		*e = told;
		return -e->code;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(e, EINVAL,
	    ".linux.seccomp: rules for \"%s\" on %s contradict each other, and libseccomp does not "
	    "find in %d s which of them wins; give each call one action, or disjoint arguments",
	    call, arch, CPU_SECONDS);
}

static int read_block(int fd, struct seccomp_code *c, uint32_t block, struct err *e)
{
	_cleanup_free_ struct sock_filter *insns = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "fstat of a memfd");
	insns = xmalloc((size_t)st.st_size);
	if (pread(fd, insns, (size_t)st.st_size, 0) != st.st_size)
		return err_set(e, EIO, "reading a memfd back: short read");
	seccomp_block_fill(c, block, insns, (size_t)st.st_size / sizeof(*insns));
	return 0;
}

int seccomp_library_block(const struct seccomp_profile *p, const struct seccomp_arch *arch,
    struct seccomp_call *const *calls, size_t n, struct seccomp_code *c, uint32_t block,
    struct err *e)
{
	_cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC), ours = -EBADF;
	int sockets[2], r;
	pid_t pid;

	if (fd < 0)
		return err_errno(e, errno, "memfd_create");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return err_errno(e, errno, "socketpair");
	ours = sockets[0];
	pid = fork();
	if (pid < 0) {
		r = err_errno(e, errno, "fork");
		close(sockets[1]);
		return r;
	}
	if (pid == 0) {
		r = limit_itself();
		if (r < 0)
			(void)err_errno(e, -r, ".linux.seccomp: a limit for libseccomp");
		else
			r = write_program(p, arch, calls, n, fd, e);
		if (r < 0)
			(void)send(sockets[1], e, sizeof(*e), MSG_NOSIGNAL);
		_exit(0);
	}
	close(sockets[1]);
	r = outcome(pid, ours, calls[0]->name, arch->name, e);
	return r < 0 ? r : read_block(fd, c, block, e);
}
