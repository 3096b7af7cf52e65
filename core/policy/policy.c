/*
 * A load: the file is compiled as it is, for honest syntax errors; run in a form
 * that knows its lines (policy/loader.c), which only notes what is declared;
 * then put together (policy/assemble.c). One error, and all of it is thrown away.
 *
 * The pointers that Lua holds to C lie in struct policy and in the loader's door,
 * which is shut before policy_load() returns.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#include "policy/assemble.h"
#include "policy/declare.h"
#include "policy/hooks.h"
#include "policy/module.h"

#define HOOK_INSTRUCTIONS 1000000u
#define HOOK_BYTES        (UINT64_C(64) << 20)
#define LOAD_INSTRUCTIONS 100000000u
#define LOAD_BYTES        (UINT64_C(256) << 20)

struct policy {
	struct ruleset *ruleset;
	struct sandbox *sandbox;
	struct hooks    hooks;
	unsigned        pins;
};

/* What stopped the load, without what the report says already. */
static void
note_failure(struct policy_report *report, const char *path, const struct sandbox_failure *failure)
{
	bool placed = failure->source[0] == '@';
	if (report->errors_n && strstr(failure->text, "does not compile"))
		return;
	notes_error(report, placed ? failure->source + 1 : path, placed ? failure->line : 0, "%s", failure->text);
}

static bool
run_file(struct policy *policy, struct loader *loader, const char *path)
{
	const struct sandbox_budget budget = { LOAD_INSTRUCTIONS, LOAD_BYTES };
	struct sandbox_failure failure;
	if (!loader_compile(loader, path))
		return false;
	bool done = sandbox_call(policy->sandbox, 0, 0, &budget, &failure);
	if (done) {
		module_push_waiting(loader->L);
		done = sandbox_call(policy->sandbox, 0, 0, &budget, &failure);
	}
	if (!done)
		note_failure(loader->report, path, &failure);
	return done;
}

/* Hooks name the line that asked for something. */
static void
keep_files(struct policy *policy, const struct loader *loader)
{
	policy->hooks.files = arena_alloc(&policy->ruleset->arena, (loader->files_n + 1) * sizeof(*policy->hooks.files));
	for (unsigned i = 0; i < loader->files_n; i++)
		policy->hooks.files[policy->hooks.files_n++] = loader->files[i]->path;
}

static void
load(struct policy *policy, struct bundle *bundle, struct policy_report *report)
{
	struct loader loader;
	loader_init(&loader, policy->ruleset, report, sandbox_lua(policy->sandbox), bundle);
	declare_export(&loader);
	hooks_export(&policy->hooks, &loader);
	bool done = run_file(policy, &loader, bundle->policy);
	/* What an error kept from being declared would only be missed by name. */
	if (done) {
		declare_finish(&loader);
		assemble_finish(&loader);
		assemble_warn(&loader, policy->hooks.handlers_n[HOOK_MESSAGE] > 0);
	}
	keep_files(policy, &loader);
	loader_fini(&loader);
	notes_sort(report);
}

struct policy *
policy_load(const char *path, const struct policy_env *env, struct policy_report *report)
{
	struct policy *policy = mem_alloc(sizeof(*policy));
	policy->pins = 1;
	policy->ruleset = mem_alloc(sizeof(*policy->ruleset));
	arena_init(&policy->ruleset->arena);
	policy->ruleset->file = arena_strdup(&policy->ruleset->arena, path);
	assemble_begin(policy->ruleset);
	policy->sandbox = sandbox_new(&(struct sandbox_options){ .log = env->log, .clock = env->clock, .seed = env->seed });
	hooks_init(&policy->hooks, policy->sandbox, env->log);
	struct bundle *bundle = env->bundle ? env->bundle : bundle_new(path, "");
	load(policy, bundle, report);
	if (!env->bundle)
		bundle_free(bundle);
	if (report->errors_n) {
		policy_free(policy);
		return NULL;
	}
	struct sandbox_budget budget = {
		env->instructions_max ? env->instructions_max : HOOK_INSTRUCTIONS,
		env->memory_max ? env->memory_max : HOOK_BYTES,
	};
	/* The seed of the node is only known now; what hooks draw comes from it. */
	if (policy->ruleset->node.seed)
		sandbox_seed(policy->sandbox, policy->ruleset->node.seed);
	hooks_loaded(&policy->hooks, policy->ruleset, &budget);
	return policy;
}

void
policy_order_as(struct policy *policy, const struct policy *other)
{
	struct ruleset *ruleset = policy->ruleset;
	const struct ruleset *order = other->ruleset;
	const struct ruleset_vmta **vmtas = arena_alloc(&ruleset->arena, (order->vmtas_n + 1) * sizeof(*vmtas));
	const struct ruleset_pool **pools = arena_alloc(&ruleset->arena, (order->pools_n + 1) * sizeof(*pools));

	check(ruleset->vmtas_n == order->vmtas_n && ruleset->pools_n == order->pools_n);
	for (unsigned i = 0; i < order->vmtas_n; i++) {
		vmtas[i] = ruleset_vmta(ruleset, span_text(order->vmtas[i]->name));
		check(vmtas[i] != NULL);
		((struct ruleset_vmta *)vmtas[i])->index = i;
	}
	for (unsigned i = 0; i < order->pools_n; i++) {
		pools[i] = ruleset_pool(ruleset, span_text(order->pools[i]->name));
		check(pools[i] != NULL);
		((struct ruleset_pool *)pools[i])->index = i;
	}
	ruleset->vmtas = vmtas;
	ruleset->pools = pools;
}

void
policy_seed(struct policy *policy, uint64_t seed)
{
	sandbox_seed(policy->sandbox, seed);
}

void
policy_free(struct policy *policy)
{
	if (!policy)
		return;
	sandbox_free(policy->sandbox);
	hooks_fini(&policy->hooks);
	ruleset_free(policy->ruleset);
	free(policy);
}

void
policy_pin(struct policy *policy)
{
	policy->pins++;
}

bool
policy_unpin(struct policy *policy)
{
	check(policy->pins > 0);
	return --policy->pins == 0;
}

const struct ruleset *
policy_ruleset(const struct policy *policy)
{
	return policy->ruleset;
}

void
policy_counts(const struct policy *policy, uint64_t *calls_out, uint64_t *errors_out)
{
	*calls_out = policy->hooks.calls;
	*errors_out = policy->hooks.errors;
}

void
policy_each_hook(const struct policy *policy, void (*fn)(void *ctx, const char *name, const struct where *where), void *ctx)
{
	const struct hooks *hooks = &policy->hooks;
	for (unsigned hook = 0; hook < HOOKS_N; hook++)
		for (unsigned i = 0; i < hooks->handlers_n[hook]; i++)
			fn(ctx, hooks->handlers[hook][i].name, &hooks->handlers[hook][i].where);
	for (unsigned i = 0; i < hooks->every_n; i++)
		fn(ctx, hooks->every[i].name, &hooks->every[i].where);
}

void
policy_cover(struct policy *policy, struct coverage *coverage)
{
	policy->hooks.coverage = coverage;
}

bool
policy_has_hook(const struct policy *policy, enum policy_hook hook)
{
	return policy->hooks.handlers_n[hook] > 0;
}

void
policy_on_connect(struct policy *policy, const struct policy_session *session, struct policy_decision *out)
{
	hooks_ask(&policy->hooks, HOOK_CONNECT, session, NULL, NULL, out);
}

void
policy_on_mail(struct policy *policy, const struct policy_session *session, struct span sender, struct policy_decision *out)
{
	hooks_ask(&policy->hooks, HOOK_MAIL, session, NULL, &sender, out);
}

void
policy_on_rcpt(struct policy *policy, const struct policy_session *session, struct span rcpt, struct policy_decision *out)
{
	hooks_ask(&policy->hooks, HOOK_RCPT, session, NULL, &rcpt, out);
}

void
policy_on_message(struct policy *policy, struct policy_message *message, struct policy_decision *out)
{
	hooks_ask(&policy->hooks, HOOK_MESSAGE, message->session, message, NULL, out);
}

void
policy_react(struct policy *policy, const struct reaction *reaction, const struct policy_reply *reply, const struct policy_queue *queue)
{
	if (!reaction->function)
		return;
	char name[200];
	snprintf(name, sizeof(name), "backoff \"%.180s\"", reaction->name);
	const struct hook_handler handler = { reaction->function, reaction->where, name, 0 };
	const struct hook_slot about = { .reply = reply->reply, .stage = reply->stage, .has_stage = true, .queue = queue };
	hooks_tell(&policy->hooks, &handler, 1, HOOK_GIVES_REPLY | HOOK_GIVES_QUEUE, &about);
}

void
policy_on_reply(struct policy *policy, const struct policy_reply *reply, const struct policy_queue *queue)
{
	const struct hook_slot about = { .reply = reply->reply, .stage = reply->stage, .has_stage = true, .queue = queue };
	hooks_tell(&policy->hooks, policy->hooks.handlers[HOOK_REPLY], policy->hooks.handlers_n[HOOK_REPLY],
		   HOOK_GIVES_REPLY | HOOK_GIVES_QUEUE, &about);
}

static void
tell_attempt(struct policy *policy, enum policy_hook hook, const struct policy_attempt *attempt)
{
	const struct hook_slot about = { .reply = attempt->reply, .attempt = attempt };
	hooks_tell(&policy->hooks, policy->hooks.handlers[hook], policy->hooks.handlers_n[hook], HOOK_GIVES_ATTEMPT, &about);
}

void
policy_on_delivered(struct policy *policy, const struct policy_attempt *attempt)
{
	tell_attempt(policy, HOOK_DELIVERED, attempt);
}

void
policy_on_bounced(struct policy *policy, const struct policy_attempt *attempt)
{
	tell_attempt(policy, HOOK_BOUNCED, attempt);
}

unsigned
policy_every_n(const struct policy *policy)
{
	return policy->hooks.every_n;
}

int64_t
policy_every_us(const struct policy *policy, unsigned i)
{
	check(i < policy->hooks.every_n);
	return policy->hooks.every[i].every_us;
}

void
policy_run_every(struct policy *policy, unsigned i)
{
	check(i < policy->hooks.every_n);
	hooks_tell(&policy->hooks, &policy->hooks.every[i], 1, 0, &(struct hook_slot){ .used = true });
}
