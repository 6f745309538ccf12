/* SPDX-License-Identifier: BSD-2-Clause */
/* paths: where things are unless the operator says otherwise. */
#ifndef BASE_PATHS_H
#define BASE_PATHS_H

#define DEFAULT_CONFIG "/etc/tollgate/tollgate.yaml"
#define DEFAULT_SOCKET "/run/tollgate/admin.sock"

#endif
