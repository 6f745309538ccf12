/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * parts: the tables of options, shared by the files of this folder and by the tests that compare
 * them with the JSON Schema. When they are read, conf_owner() is the struct config.
 */
#ifndef CONFIG_PARTS_H
#define CONFIG_PARTS_H

#include "config/config.h"
#include "base/conf.h"

extern const struct conf_schema config_schema;	 /* config.c: the whole configuration */
extern const struct conf_schema listener_schema; /* network_options.c */
extern const struct conf_schema upstream_schema; /* network_options.c */
extern const struct conf_schema tier_schema;	 /* tier_options.c */
extern const struct conf_schema route_schema;	 /* route_options.c */

extern const struct conf_schema stripe_schema;	/* stripe_options.c */
extern const struct conf_schema notices_schema; /* stripe_options.c */

/* Set what depends on several options of `stripe`, after all have been read. 0 or -ENOMEM. */
int config_stripe_fill(struct config *config);

/* Set what tiers take from other sections, after all have been read. */
void config_tiers_fill(struct config *config);

#define SECOND_MS 1000ULL
#define MINUTE_MS (60 * SECOND_MS)
#define DAY_MS	  (24 * 60 * MINUTE_MS)

/*
 * The bit of the feature named by @node, assigned on first use; -1 after reporting an error. In
 * tier_options.c.
 */
int config_read_feature(struct conf *conf, const struct conf_node *node);

/* Setter: a file's path, relative to the configuration's folder unless absolute. */
void config_set_path(struct conf *conf, const struct conf_node *node,
		     const struct conf_option *option, void *record);

/*
 * @path, relative to the folder of @config_path unless absolute. The caller frees it. NULL if out
 * of memory.
 */
char *config_resolve_path(const char *config_path, struct text path);

/* Setter: a list of address blocks such as "10.0.0.0/8", as an array of struct cidr. */
void config_set_cidrs(struct conf *conf, const struct conf_node *node,
		      const struct conf_option *option, void *record);

/* Setters, in portal_options.c: a name, a URL (max 1: or a mail address), a list of origins. */
void config_set_product_name(struct conf *conf, const struct conf_node *node,
			     const struct conf_option *option, void *record);
void config_set_link(struct conf *conf, const struct conf_node *node,
		     const struct conf_option *option, void *record);
void config_set_origins(struct conf *conf, const struct conf_node *node,
			const struct conf_option *option, void *record);

bool config_same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b);

#endif
