/*
 * AppArmor profile and SELinux label for the next execve(2), or for the process as it is: written
 * to the caller's own attribute files, which proc.c opens so that no container can put others in
 * their place.
 */
#include "base/cleanup.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/str.h"
#include "security/internal.h"
#include "security/security.h"

static const struct attributes {
	const char *apparmor, *verb, *selinux;
} of_next_exec = { "attr/apparmor/exec", "exec", "attr/exec" },
  of_process = { "attr/apparmor/current", "changeprofile", "attr/current" };

static bool given(const char *label)
{
	return label && *label;
}

static bool is_unconfined(const char *profile)
{
	return streq(profile, "unconfined");
}

/* On the host, before anything of the container is in sight: the kernel is asked through /sys. */
int lsm_check(const struct spec_process *p, const char *mount_label, struct err *e)
{
	/* No confinement is to be had where there is no module. */
	if (given(p->apparmor_profile) && !is_unconfined(p->apparmor_profile) &&
	    !kernel_has_apparmor())
		return err_set(e, ENOTSUP,
		    ".process.apparmorProfile: \"%s\": AppArmor is not enabled on this host",
		    p->apparmor_profile);
	if (given(p->selinux_label) && !kernel_has_selinux())
		return err_set(e, ENOTSUP,
		    ".process.selinuxLabel: \"%s\": SELinux is not enabled on this host",
		    p->selinux_label);
	if (given(mount_label) && !kernel_has_selinux())
		return err_set(e, ENOTSUP,
		    ".linux.mountLabel: \"%s\": SELinux is not enabled on this host", mount_label);
	return 0;
}

static int write_attr(int procfd, const char *file, const char *text, const char *property,
    const char *value, struct err *e)
{
	_cleanup_close_ int fd = proc_open(procfd, 0, file);

	/* Engines look for the path in backquotes. */
	if (fd < 0)
		return err_errno(
		    e, -fd, "%s: \"%s\": open file `/proc/self/%s`", property, value, file);
	/* The kernel takes the text in one write. */
	if (write(fd, text, strlen(text)) < 0)
		return err_errno(e, errno, "%s: \"%s\": write file `/proc/self/%s`%s", property,
		    value, file, errno == ENOENT ? " (is the profile loaded?)" : "");
	return 0;
}

/* In the container: what is said here must not depend on its /sys, so the kernel's answer to the
 * write decides. */
static int apparmor_apply(
    int procfd, const struct attributes *a, const char *profile, struct err *e)
{
	_cleanup_free_ char *text = xasprintf("%s %s", a->verb, profile);
	int r = write_attr(procfd, a->apparmor, text, ".process.apparmorProfile", profile, e);

	/* Without the module the file is missing, resp. refuses every text. */
	if (is_unconfined(profile) && (r == -ENOENT || r == -EINVAL)) {
		log_debug("%s", e->msg);
		err_clear(e);
		return 0;
	}
	return r;
}

static int apply(
    int procfd, const struct attributes *a, const struct spec_process *p, struct err *e)
{
	if (given(p->apparmor_profile) && apparmor_apply(procfd, a, p->apparmor_profile, e) < 0)
		return -e->code;
	if (given(p->selinux_label))
		return write_attr(procfd, a->selinux, p->selinux_label, ".process.selinuxLabel",
		    p->selinux_label, e);
	return 0;
}

int lsm_apply_exec(int procfd, const struct spec_process *p, struct err *e)
{
	return apply(procfd, &of_next_exec, p, e);
}

int lsm_apply_now(int procfd, const struct spec_process *p, struct err *e)
{
	return apply(procfd, &of_process, p, e);
}
