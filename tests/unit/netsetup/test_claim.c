/* Who has which address: netsetup/claim.c, ipam.c, journal.c. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "netsetup/claim.h"
#include "netsetup/ipam.h"
#include "netsetup/journal.h"
#include "tests/unit/test.h"

/* A run directory with the state directories a and b in it. */
struct place {
	char path[40], a[48], b[48];
	int run, dir, afd, bfd;
};

static int open_dir(const char *path)
{
	mkdir(path, 0755);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static struct place begin(void)
{
	struct place p = { .path = "/tmp/test_claim.XXXXXX" };

	CHECK(mkdtemp(p.path));
	snprintf(p.a, sizeof(p.a), "%s/a", p.path);
	snprintf(p.b, sizeof(p.b), "%s/b", p.path);
	p.run = open_dir(p.path);
	p.dir = run_dir(p.run, "claims");
	p.afd = open_dir(p.a);
	p.bfd = open_dir(p.b);
	return p;
}

static void end(struct place *p)
{
	const char *const argv[] = { "rm", "-rf", p->path, NULL };

	close(p->run);
	close(p->dir);
	close(p->afd);
	close(p->bfd);
	if (fork() == 0)
		execvp("rm", (char *const *)argv);
}

TEST(one_owner)
{
	struct place p = begin();
	_cleanup_free_ char *a = claim_owner(p.a, p.afd, "1,2::3,"),
			    *b = claim_owner(p.b, p.bfd, "");
	_cleanup_free_ char *other = NULL;

	CHECK_INT(claim_take(p.run, p.dir, "x", a, NULL), 0);
	CHECK_INT(claim_take(p.run, p.dir, "x", b, &other), -EEXIST);
	CHECK_STR(other, p.a);
	CHECK(claim_is(p.dir, "x", p.a) && !claim_is(p.dir, "x", p.b));
	CHECK_INT(claim_release(p.dir, "x", p.b), 0);
	CHECK(claim_is(p.dir, "x", p.a));
	CHECK_INT(claim_release(p.dir, "x", p.a), 0);
	CHECK_INT(claim_release(p.dir, "x", p.a), 0);
	CHECK_INT(claim_take(p.run, p.dir, "x", b, NULL), 0);
	end(&p);
}

TEST(dead_owners)
{
	struct place p = begin();
	_cleanup_free_ char *a = claim_owner(p.a, p.afd, ""), *b = claim_owner(p.b, p.bfd, "");

	CHECK_INT(claim_take(p.run, p.dir, "x", a, NULL), 0);
	/* Another directory of the same name is another owner. */
	rename(p.a, "/tmp/test_claim.gone");
	mkdir(p.a, 0755);
	CHECK_INT(claim_take(p.run, p.dir, "x", b, NULL), 0);
	CHECK(claim_is(p.dir, "x", p.b));
	rmdir("/tmp/test_claim.gone");
	end(&p);
}

static struct network network(const char *subnet4, const char *subnet6)
{
	struct network n = { .name = "n" };
	struct err e = ERR_INIT;

	if (subnet4)
		CHECK_INT(ip_parse(subnet4, &n.subnet4), 0);
	if (subnet6)
		CHECK_INT(ip_parse(subnet6, &n.subnet6), 0);
	CHECK_INT(network_complete(&n, &e), 0);
	return n;
}

TEST(all_addresses_once)
{
	struct place p = begin();
	_cleanup_free_ char *a = claim_owner(p.a, p.afd, "");
	struct network n = network("10.0.0.0/29", "fd00::/64");
	const struct ip any = { 0 };
	struct err e = ERR_INIT;
	struct ip four[5], six[5], more;

	for (int i = 0; i < 5; i++) {
		CHECK_INT(ipam_take(p.run, &n, &any, &any, a, &four[i], &six[i], &e), 0);
		CHECK_INT(ip_index(&n.subnet4, &four[i]), i + 2);
		CHECK_INT(ip_index(&n.subnet6, &six[i]), i + 2);
		CHECK_INT(four[i].prefix, 29);
	}
	CHECK_INT(ipam_take(p.run, &n, &any, &any, a, &more, &more, &e), -ENOSPC);
	CHECK_INT(ipam_release(p.run, "n", p.a, &four[2], &six[2]), 0);
	CHECK_INT(ipam_take(p.run, &n, &any, &any, a, &more, &six[2], &e), 0);
	CHECK(ip_equal(&more, &four[2]));
	/* Without the addresses: by owner. */
	CHECK_INT(ipam_release(p.run, "n", p.a, &any, &any), 0);
	CHECK_INT(ipam_take(p.run, &n, &four[0], &any, a, &more, &six[0], &e), 0);
	CHECK(ip_equal(&more, &four[0]));
	CHECK_INT(ipam_take(p.run, &n, &four[0], &any, a, &more, &six[0], &e), -EBUSY);
	CHECK_INT(ipam_take(p.run, &n, &n.gateway4, &any, a, &more, &six[0], &e), -EINVAL);
	end(&p);
}

TEST(journals)
{
	struct place p = begin();
	struct journal j = { .kind = NET_PTP, .host = 4026531840, .network = "ptp", .link = "bv0" },
		       back;
	struct err e = ERR_INIT;
	bool found;
	int fd;

	CHECK_INT(journal_read(p.afd, &back, &found, &e), 0);
	CHECK(!found);
	CHECK_INT(ip_parse("10.0.0.2", &j.ip4), 0);
	j.ports = (char *[]){ (char *)"tcp-any-80", NULL };
	CHECK_INT(journal_write(&j, p.afd, &e), 0);
	CHECK_INT(journal_read(p.afd, &back, &found, &e), 0);
	CHECK(found && back.kind == NET_PTP && back.host == 4026531840 &&
	      ip_equal(&back.ip4, &j.ip4) && !back.ip6.family);
	CHECK_STR(back.link, "bv0");
	CHECK_STR(back.ports[0], "tcp-any-80");
	journal_free(&back);
	fd = openat(p.afd, JOURNAL, O_WRONLY | O_TRUNC);
	dprintf(fd, "{\"kind\":2}");
	close(fd);
	CHECK_INT(journal_read(p.afd, &back, &found, &e), -EINVAL);
	end(&p);
}

TEST_MAIN(T(one_owner), T(dead_owners), T(all_addresses_once), T(journals))
