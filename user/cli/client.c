/* SPDX-License-Identifier: BSD-2-Clause */
/* client: calls of the admin API over the agent's Unix socket. */
#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/paths.h"
#include "base/buf.h"

#define ANSWER_MAX	 ((size_t)1024 * 1024 * 1024)
#define CONNECT_LIMIT_S	 5L
#define CALL_LIMIT_S	 30L
#define IMPORT_LIMIT_S	 120L
#define SOCKET_PATH_SIZE sizeof(((struct sockaddr_un *)NULL)->sun_path)

/* A request and its response. */
struct call {
	const char *method, *path, *type;
	struct text body; /* ptr NULL: none */
	long limit_s;
	struct buf answer;
	struct curl_slist *fields;
};

void client_init(struct client *client, const char *socket)
{
	*client = (struct client){ .socket = socket ? socket : DEFAULT_SOCKET };
}

void client_done(struct client *client)
{
	curl_easy_cleanup(client->curl);
	client->curl = NULL;
}

static int fail(struct client *client, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct client *client, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(client->error, sizeof(client->error), format, args);
	va_end(args);
	return err;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct buf *answer = arg;

	return buf_append(answer, data, size * count) ? 0 : size * count;
}

static int set_up(struct client *client, struct call *call)
{
	char url[512], type[64];
	CURL *curl;

	if (!client->curl)
		client->curl = curl_easy_init();
	curl = client->curl;
	snprintf(type, sizeof(type), "Content-Type: %s", call->type);
	call->fields = curl_slist_append(NULL, type);
	/* Otherwise curl sends "Expect: 100-continue" with a large body and waits for a second. */
	if (!curl || !call->fields || !curl_slist_append(call->fields, "Expect:"))
		return -ENOMEM;
	snprintf(url, sizeof(url), "http://localhost%s", call->path);
	curl_easy_reset(curl);
	if (curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket) ||
	    curl_easy_setopt(curl, CURLOPT_URL, url) ||
	    /* Ignore http_proxy in the environment: this is a local socket. */
	    curl_easy_setopt(curl, CURLOPT_PROXY, "") ||
	    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) ||
	    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L) ||
	    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_LIMIT_S) ||
	    curl_easy_setopt(curl, CURLOPT_TIMEOUT, call->limit_s) ||
	    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data) ||
	    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &call->answer))
		return -ENOMEM;
	if (call->body.ptr &&
	    (curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.ptr) ||
	     curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len) ||
	     curl_easy_setopt(curl, CURLOPT_HTTPHEADER, call->fields)))
		return -ENOMEM;
	return curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method) ? -ENOMEM : 0;
}

static int explain_connect(struct client *client)
{
	long os_errno = 0;

	curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &os_errno);
	if (os_errno == EACCES || os_errno == EPERM)
		return fail(client, -ENOTCONN, "no permission to use %s (%s)", client->socket,
			    strerror((int)os_errno));
	return fail(client, -ENOTCONN, "tollgate is not running at %s (%s)", client->socket,
		    os_errno ? strerror((int)os_errno) : "no connection");
}

static int explain_curl(struct client *client, const struct call *call, CURLcode code)
{
	double connected_s = 0;

	curl_easy_getinfo(client->curl, CURLINFO_PRETRANSFER_TIME, &connected_s);
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		return explain_connect(client);
	case CURLE_OPERATION_TIMEDOUT:
		if (connected_s <= 0)
			return fail(client, -ETIMEDOUT,
				    "tollgate at %s did not accept a connection within %ld s",
				    client->socket, CONNECT_LIMIT_S);
		return fail(client, -ETIMEDOUT, "tollgate at %s did not answer within %ld s%s",
			    client->socket, call->limit_s,
			    call->body.ptr ? "; the change may have been made" : "");
	case CURLE_OUT_OF_MEMORY:
		return fail(client, -ENOMEM, "out of memory");
	case CURLE_WRITE_ERROR:
		return fail(client, -EIO, "the response is too large");
	default:
		return fail(client, -EIO, "the connection to tollgate at %s failed: %s%s",
			    client->socket, curl_easy_strerror(code),
			    call->body.ptr ? "; the change may have been made" : "");
	}
}

static int read_answer(struct client *client, const struct call *call, json_t **ret_answer)
{
	json_t *json = json_loadb(buf_head(&call->answer), buf_len(&call->answer), 0, NULL);
	const char *detail = json_string_value(json_object_get(json, "detail"));
	int err = 0;

	if (client->status >= 400 && detail)
		err = fail(client, -EREMOTEIO, "%s", detail);
	else if (client->status < 200 || client->status > 299)
		err = fail(client, -EREMOTEIO, "tollgate at %s responded with HTTP status %u",
			   client->socket, client->status);
	else if (!json)
		err = fail(
			client, -EPROTO,
			"the program that listens at %s is not tollgate: its response is not JSON",
			client->socket);
	if (err)
		json_decref(json);
	else
		*ret_answer = json;
	return err;
}

static int perform(struct client *client, struct call *call, json_t **ret_answer)
{
	long status = 0;
	CURLcode code;
	int err;

	client->status = 0;
	if (strlen(client->socket) >= SOCKET_PATH_SIZE)
		return fail(client, -ENOTCONN, "the path of the socket is too long: %s",
			    client->socket);
	buf_init(&call->answer, ANSWER_MAX);
	err = set_up(client, call);
	if (err) {
		fail(client, err, "out of memory");
	} else {
		code = curl_easy_perform(client->curl);
		curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
		client->status = code ? 0 : (unsigned)status;
		err = code ? explain_curl(client, call, code)
			   : read_answer(client, call, ret_answer);
	}
	buf_done(&call->answer);
	curl_slist_free_all(call->fields);
	return err;
}

int client_call(struct client *client, const char *method, const char *path, const json_t *body,
		json_t **ret_answer)
{
	char *dump = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct call call = { .method = method,
			     .path = path,
			     .type = "application/json",
			     .body = text_of(dump),
			     .limit_s = CALL_LIMIT_S };
	int err;

	if (body && !dump)
		return fail(client, -ENOMEM, "out of memory");
	if (!body && strcmp(method, "GET") != 0)
		call.body = TEXT("");
	err = perform(client, &call, ret_answer);
	free(dump);
	return err;
}

int client_import(struct client *client, const char *path, struct text lines, json_t **ret_answer)
{
	struct call call = { .method = "POST",
			     .path = path,
			     .type = "text/plain",
			     .body = lines,
			     .limit_s = IMPORT_LIMIT_S };

	return perform(client, &call, ret_answer);
}
