/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * agent: the whole of a running tollgate, built in order, run, and taken down in the reverse order.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

/*
 * Run with the configuration at @config_path until SIGTERM or SIGINT, and drain. Returns the process'
 * exit code: 0 after an orderly stop, 1 if it could not start or go on; the log says why.
 */
int agent_run(const char *config_path, const char *env_file);

#endif
