/* SPDX-License-Identifier: BSD-2-Clause */
/* fastpath_mode: how XDP is attached to an interface, as the configuration asks for it. */
#ifndef CONFIG_FASTPATH_MODE_H
#define CONFIG_FASTPATH_MODE_H

enum fastpath_mode {
	FASTPATH_NONE, /* no BPF at all */
	FASTPATH_AUTO, /* native, else generic */
	FASTPATH_NATIVE,
	FASTPATH_GENERIC,
};

#endif
