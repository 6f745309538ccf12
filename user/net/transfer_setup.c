/* SPDX-License-Identifier: BSD-2-Clause */
/* transfer_setup: libcurl's options for a transfer, and its errors as errnos. */
#include "net/transfer_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

/* Whether @text has no control byte, so that it cannot end a line of a protocol. */
static bool is_one_line(const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool is_address(const char *text)
{
	return is_one_line(text) && strchr(text, '@') && !strpbrk(text, "<> \t");
}

static size_t on_answer(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;

	if (!buf_append(&t->body, data, size * count))
		return size * count;
	t->is_too_large = true;
	return 0;
}

static size_t on_head_line(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	struct text line = { data, size * count };

	/* Another status line: the fields before it belong to an interim response. */
	if (text_starts(line, TEXT("HTTP/")))
		buf_clear(&t->head);
	else if (buf_append_text(&t->head, line))
		t->is_too_large = true;
	return t->is_too_large ? 0 : line.len;
}

static int append_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *grown = curl_slist_append(*list, line);

	if (!grown)
		return -ENOMEM;
	*list = grown;
	return 0;
}

/* The options of every transfer. */
static bool set_common(struct transfer *t, const char *url, unsigned connect_ms, unsigned total_ms,
		       const char *ca_file)
{
	CURL *easy = t->easy;

	return !(curl_easy_setopt(easy, CURLOPT_PRIVATE, t) ||
		 curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->words) ||
		 curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) ||
		 /* A transfer that ends must not wait for the thread that resolves its name. */
		 curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) ||
		 curl_easy_setopt(easy, CURLOPT_PROXY, "") ||
		 curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) ||
		 curl_easy_setopt(easy, CURLOPT_URL, url) ||
		 curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
				  (long)(connect_ms ? connect_ms : total_ms)) ||
		 curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)total_ms) ||
		 curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) ||
		 curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) ||
		 curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) ||
		 (ca_file && (curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file) ||
			      curl_easy_setopt(easy, CURLOPT_CAPATH, NULL))));
}

static bool set_http(struct transfer *t, const char *method)
{
	CURL *easy = t->easy;

	return !(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") ||
		 curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) ||
		 curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L) ||
		 curl_easy_setopt(easy, CURLOPT_USERAGENT, "tollgate/" TOLLGATE_VERSION) ||
		 curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->fields) ||
		 curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head_line) ||
		 curl_easy_setopt(easy, CURLOPT_HEADERDATA, t) ||
		 curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer) ||
		 curl_easy_setopt(easy, CURLOPT_WRITEDATA, t) ||
		 curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method));
}

static bool set_http_body(struct transfer *t)
{
	return !(curl_easy_setopt(t->easy, CURLOPT_POST, 1L) ||
		 curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE,
				  (curl_off_t)buf_len(&t->out)) ||
		 curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS,
				  buf_len(&t->out) ? buf_head(&t->out) : ""));
}

int transfer_set_request(struct transfer *t, const struct transfer_request *request)
{
	bool has_body = request->body.ptr || !strcmp(request->method, "POST");

	if (!request->total_ms || !is_one_line(request->url) || !is_one_line(request->method))
		return -EINVAL;
	/* Otherwise curl sends Expect before a large body, and waits a second. */
	if (append_line(&t->fields, "Expect:"))
		return -ENOMEM;
	for (const char *const *line = request->fields; line && *line; line++) {
		if (!is_one_line(*line))
			return -EINVAL;
		if (append_line(&t->fields, *line))
			return -ENOMEM;
	}
	buf_init(&t->out, request->body.len);
	buf_init(&t->body, request->max_answer_bytes);
	if (buf_append_text(&t->out, request->body) || !set_http(t, request->method) ||
	    (has_body && !set_http_body(t)) ||
	    (request->unix_socket &&
	     curl_easy_setopt(t->easy, CURLOPT_UNIX_SOCKET_PATH, request->unix_socket)) ||
	    !set_common(t, request->url, request->connect_ms, request->total_ms, request->ca_file))
		return -ENOMEM;
	return 0;
}

/* Whether @text is "Name: value", in which CRLF and white space may fold the value. */
static bool is_field(const char *text)
{
	const char *colon = strchr(text, ':');

	if (!colon || colon == text)
		return false;
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (text > colon && c == '\r' && text[1] == '\n' &&
		    (text[2] == ' ' || text[2] == '\t'))
			text += 2;
		else if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static int set_mail_fields(struct transfer *t, const char *const *fields)
{
	for (; fields && *fields; fields++) {
		if (!is_field(*fields))
			return -EINVAL;
		if (append_line(&t->fields, *fields))
			return -ENOMEM;
	}
	return 0;
}

static bool set_text(struct transfer *t, struct text text)
{
	curl_mimepart *part;

	t->mime = curl_mime_init(t->easy);
	part = t->mime ? curl_mime_addpart(t->mime) : NULL;
	return part && !curl_mime_data(part, text.len ? text.ptr : "", text.len) &&
	       !curl_mime_type(part, "text/plain; charset=utf-8") &&
	       !curl_mime_encoder(part, "base64");
}

static bool set_smtp(struct transfer *t, const struct transfer_mail *mail)
{
	static const long levels[] = {
		[TRANSFER_STARTTLS_REQUIRED] = CURLUSESSL_ALL,
		[TRANSFER_STARTTLS_OPTIONAL] = CURLUSESSL_TRY,
		[TRANSFER_STARTTLS_NONE] = CURLUSESSL_NONE,
	};
	CURL *easy = t->easy;

	return !(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps") ||
		 curl_easy_setopt(easy, CURLOPT_USE_SSL, levels[mail->starttls]) ||
		 (mail->user &&
		  (curl_easy_setopt(easy, CURLOPT_USERNAME, mail->user) ||
		   curl_easy_setopt(easy, CURLOPT_PASSWORD, mail->password) ||
		   /* Not Kerberos: its library does blocking lookups. */
		   curl_easy_setopt(easy, CURLOPT_LOGIN_OPTIONS, "AUTH=PLAIN;AUTH=LOGIN"))) ||
		 curl_easy_setopt(easy, CURLOPT_MAIL_FROM, mail->from) ||
		 curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, t->to) ||
		 curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->fields) ||
		 curl_easy_setopt(easy, CURLOPT_MIMEPOST, t->mime) ||
		 curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer) ||
		 curl_easy_setopt(easy, CURLOPT_WRITEDATA, t));
}

int transfer_set_mail(struct transfer *t, const struct transfer_mail *mail)
{
	int err;

	if (!mail->total_ms || !is_one_line(mail->url) || !is_address(mail->from) || !mail->to ||
	    !*mail->to || !mail->user != !mail->password)
		return -EINVAL;
	for (const char *const *to = mail->to; *to; to++) {
		if (!is_address(*to))
			return -EINVAL;
		if (append_line(&t->to, *to))
			return -ENOMEM;
	}
	err = set_mail_fields(t, mail->fields);
	if (err)
		return err;
	buf_init(&t->body, TRANSFER_MAX_HEAD);
	if (!set_text(t, mail->text) || !set_smtp(t, mail) ||
	    !set_common(t, mail->url, mail->connect_ms, mail->total_ms, mail->ca_file))
		return -ENOMEM;
	return 0;
}

static int connect_errno(const struct transfer *t)
{
	long os_errno = 0;

	curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_errno);
	if (os_errno == EHOSTUNREACH || os_errno == ENETUNREACH)
		return -EHOSTUNREACH;
	return os_errno == ETIMEDOUT ? -ETIMEDOUT : -ECONNREFUSED;
}

/* libcurl has no code for a refusal by a mail server: SMTP's own code tells. */
static int refused_errno(const struct transfer *t, int otherwise)
{
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	return t->is_mail && status >= 400 ? -EREMOTEIO : otherwise;
}

int transfer_errno(const struct transfer *t, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		return connect_errno(t);
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_ABORTED_BY_CALLBACK:
		return -ETIMEDOUT;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return refused_errno(t, -ECONNRESET);
	case CURLE_LOGIN_DENIED:
		return -EACCES;
	case CURLE_REMOTE_ACCESS_DENIED:
	case CURLE_QUOTE_ERROR:
	case CURLE_WEIRD_SERVER_REPLY:
		return refused_errno(t, -EPROTO);
	case CURLE_WRITE_ERROR:
		return t->is_too_large ? -EMSGSIZE : -EPROTO;
	case CURLE_FILESIZE_EXCEEDED:
		return -EMSGSIZE;
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_USE_SSL_FAILED:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_BAD_CONTENT_ENCODING:
		return -EPROTO;
	case CURLE_URL_MALFORMAT:
		return -EINVAL;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static void wipe_list(struct curl_slist *list)
{
	for (struct curl_slist *line = list; line; line = line->next)
		OPENSSL_cleanse(line->data, strlen(line->data));
	curl_slist_free_all(list);
}

void transfer_free(struct transfer *t)
{
	if (!t)
		return;
	curl_easy_cleanup(t->easy);
	curl_mime_free(t->mime);
	wipe_list(t->fields);
	curl_slist_free_all(t->to);
	buf_done(&t->out);
	buf_done(&t->head);
	buf_done(&t->body);
	free(t);
}
