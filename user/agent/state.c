/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * state: the state folder, which one agent locks for itself, and the user that the agent runs as.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ftw.h>

#include "agent/agent_private.h"
#include "base/log.h"

static int make_folders(const char *path)
{
	char part[PATH_MAX];
	int err = text_copy(part, sizeof(part), path);

	if (err)
		return err;
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(part, 0700) && errno != EEXIST ? -errno : 0;
}

int state_lock(const struct config *config, int *ret_lock_fd, char *ret_why, size_t why_size)
{
	char path[PATH_MAX];
	int fd, err = make_folders(config->state_dir);

	if (err) {
		snprintf(ret_why, why_size, "state_dir %s: %s", config->state_dir, strerror(-err));
		return err;
	}
	if (snprintf(path, sizeof(path), "%s/lock", config->state_dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		err = -errno;
		snprintf(ret_why, why_size, "%s: %s", path, strerror(-err));
		return err;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = -errno;
		close(fd);
		snprintf(ret_why, why_size, "state_dir %s is in use by another tollgate",
			 config->state_dir);
		return err;
	}
	*ret_lock_fd = fd;
	return 0;
}

static uid_t new_uid;
static gid_t new_gid;

static int give_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return lchown(path, new_uid, new_gid) ? -errno : 0;
}

/* Give the files that the agent goes on writing to the user. */
static int give_away(const char *path)
{
	int err = nftw(path, give_entry, 16, FTW_PHYS);

	return err == -1 ? (errno == ENOENT ? 0 : -errno) : err;
}

int state_drop_privileges(const struct config *config, const char *pins, char *ret_why,
			  size_t why_size)
{
	const struct passwd *user;
	int err;

	/* No core dump and no ptrace: memory contains keys of requests, and the pepper. */
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!config->user)
		return 0;
	user = getpwnam(config->user);
	if (!user) {
		snprintf(ret_why, why_size, "user %s does not exist", config->user);
		return -ENOENT;
	}
	if (geteuid() == user->pw_uid)
		return 0;
	new_uid = user->pw_uid;
	new_gid = user->pw_gid;
	err = give_away(config->state_dir);
	if (!err && pins)
		err = give_away(pins);
	if (!err && (setgroups(0, NULL) || setgid(new_gid) || setuid(new_uid)))
		err = -errno;
	if (err) {
		snprintf(ret_why, why_size, "user %s: %s", config->user, strerror(-err));
		return err;
	}
	prctl(PR_SET_DUMPABLE, 0); /* setuid() has cleared it already; make sure */
	log_info("running as %s", config->user);
	return 0;
}
