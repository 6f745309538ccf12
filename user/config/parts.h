/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config_parts: the tables of the configuration, for the files that make it up and the tests that
 * hold them against the JSON Schema. The owner of a conf that is read by them is its struct config.
 */
#ifndef CONFIG_PARTS_H
#define CONFIG_PARTS_H

#include "config/config.h"
#include "base/conf.h"

extern const struct conf_schema config_schema;	 /* config.c: the whole */
extern const struct conf_schema listener_schema; /* network_options.c */
extern const struct conf_schema upstream_schema; /* network_options.c */
extern const struct conf_schema tier_schema;	 /* tier_options.c */
extern const struct conf_schema route_schema;	 /* route_options.c */

extern const struct conf_schema stripe_schema;	/* stripe_options.c */
extern const struct conf_schema notices_schema; /* stripe_options.c */

/* After all is read: texts that follow from others. 0 or -ENOMEM. */
int config_stripe_fill(struct config *config);

/* After all is read: what tiers leave to other sections. */
void config_tiers_fill(struct config *config);

#define SECOND_MS 1000ULL
#define MINUTE_MS (60 * SECOND_MS)
#define DAY_MS	  (24 * 60 * MINUTE_MS)

/*
 * The bit of the feature that @node names, made on first use; -1 after an error message. In
 * tier_options.c.
 */
int config_read_feature(struct conf *conf, const struct conf_node *node);

/* A file's name; a relative one is meant from the configuration's folder. */
void config_set_path(struct conf *conf, const struct conf_node *node,
		     const struct conf_option *option, void *record);

/* A malloc'd name of @path as seen from the folder of the configuration; NULL without memory. */
char *config_resolve_path(const char *config_path, struct text path);

/* A list of "10.0.0.0/8" into an array of struct cidr. */
void config_set_cidrs(struct conf *conf, const struct conf_node *node,
		      const struct conf_option *option, void *record);

bool config_same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b);

#endif
