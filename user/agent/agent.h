/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * agent: a running tollgate: it builds all modules in order, runs them, and takes them down in
 * reverse.
 *
 * Here belongs what connects modules: start, reload, drain, worker threads, the feed from the
 * store. What one module can do by itself belongs there.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

/*
 * Run with the configuration at @config_path until SIGTERM or SIGINT, then drain. Returns the exit
 * code of the process: 0 after an orderly stop, 1 if it could not start or had to give up; the log
 * says why.
 */
int agent_run(const char *config_path, const char *env_file);

#endif
