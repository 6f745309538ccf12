/* SPDX-License-Identifier: BSD-2-Clause */
/* fastpath_mode: how the configuration wants XDP to be attached to interfaces. */
#ifndef CONFIG_FASTPATH_MODE_H
#define CONFIG_FASTPATH_MODE_H

enum fastpath_mode {
	FASTPATH_NONE, /* no BPF at all */
	FASTPATH_AUTO, /* native if the driver supports it, else generic */
	FASTPATH_NATIVE,
	FASTPATH_GENERIC,
};

#endif
