/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_fuzz: arbitrary bytes give either a configuration or at least one error message, never both.
 * Host names are not resolved.
 */
#include <stdint.h>
#include <stdlib.h>

#include "config/config.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	config_resolves_names = false;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *config = NULL;
	struct buf messages;
	int err;

	buf_init(&messages, 1 << 16);
	err = config_parse("fuzz.yaml", (struct text){ (const char *)data, size }, &config,
			   &messages);
	if (err ? config || !buf_len(&messages)
		: !config || buf_len(&messages) || !config->listener_count)
		abort();
	for (size_t i = 0; i < buf_len(&messages); i++) {
		unsigned char byte = (unsigned char)buf_head(&messages)[i];

		if (byte < 0x20 && byte != '\n')
			abort();
	}
	config_free(config);
	buf_done(&messages);
	return 0;
}
