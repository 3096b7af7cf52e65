/*
 * sockaddr_os - between the system's addresses and ours, and its errors as we
 * write them: in the middle of a sentence, so without a capital.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_os.h"

socklen_t
sockaddr_from_endpoint(const struct endpoint *endpoint, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (endpoint->ip.family == IP_V6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(endpoint->port);
		memcpy(&v6->sin6_addr, endpoint->ip.bytes, 16);
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(endpoint->port);
	memcpy(&v4->sin_addr, endpoint->ip.bytes, 4);
	return sizeof(*v4);
}

void
sockaddr_to_endpoint(const struct sockaddr_storage *addr, struct endpoint *out)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)addr;

	memset(out, 0, sizeof(*out));
	if (addr->ss_family == AF_INET) {
		out->ip.family = IP_V4;
		out->port = ntohs(v4->sin_port);
		memcpy(out->ip.bytes, &v4->sin_addr, 4);
	} else if (addr->ss_family == AF_INET6) {
		out->ip.family = IP_V6;
		out->port = ntohs(v6->sin6_port);
		memcpy(out->ip.bytes, &v6->sin6_addr, 16);
	}
}

const char *
sys_text(int sys, char out[96])
{
	const char *text = strerrordesc_np(sys);

	if (text)
		snprintf(out, 96, "%s", text);
	else
		snprintf(out, 96, "error %d", sys);
	if (out[0] >= 'A' && out[0] <= 'Z' && !(out[1] >= 'A' && out[1] <= 'Z'))
		out[0] = (char)(out[0] - 'A' + 'a');
	return out;
}
