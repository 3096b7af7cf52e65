/*
 * Virtual MTAs are nodes; a rule with `reroute` in the list of a queue leads from its
 * virtual MTA to each that the name stands for. A queue whose virtual MTA is among
 * them stays where it is, so a provider's rule may send all mail by a pool, that of
 * the pool included. What remains must have no circle, for then two overlays
 * would hand the same mail to each other.
 *
 * Lists depend on the site: the search is made for each provider and domain that has
 * rules of its own, and once for all the others.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/circle.h"

#include "policy/reaction.h"
#include "policy/walk.h"

#define NAMES_MAX 500

struct step {                           /* a virtual MTA on the way, and how far its rules are followed */
	unsigned vmta;
	unsigned rule, member;
};

enum colour { NEW, OPEN, DONE };

struct walk {
	struct loader *loader;
	const struct ruleset *ruleset;
	const struct walk_site *site;
	unsigned char *colours;
	struct step *steps;
	unsigned depth;
	bool round;                     /* a circle was found: those of other sites are mostly the same */
};

static const char *
nearest_name(const struct ruleset *ruleset, const char *name)
{
	const char *words[NAMES_MAX];
	unsigned n = 0;
	for (unsigned i = 0; i < ruleset->vmtas_n && n < NAMES_MAX; i++)
		words[n++] = ruleset->vmtas[i]->name;
	for (unsigned i = 0; i < ruleset->pools_n && n < NAMES_MAX; i++)
		words[n++] = ruleset->pools[i]->name;
	return setting_nearest(span_text(name), words, n);
}

static bool
check_names(struct loader *loader)
{
	bool ok = true;
	for (unsigned i = 0; i < loader->reroutes_n; i++) {
		const struct loader_reroute *reroute = &loader->reroutes[i];
		if (table_get(&loader->ruleset->names, span_text(reroute->name)))
			continue;
		const char *near = nearest_name(loader->ruleset, reroute->name);
		loader_error(loader, &reroute->where, "backoff: reroute: \"%.100s\": no such virtual MTA or pool%s%s%s", reroute->name,
			     near ? " (" : "", near ? near : "", near ? "?)" : "");
		ok = false;
	}
	return ok;
}

static struct loader_reroute *
find(struct loader *loader, const char *name)
{
	for (unsigned i = 0; i < loader->reroutes_n; i++)
		if (loader->reroutes[i].name == name)
			return &loader->reroutes[i];
	check(!"each reroute is noted");
	return NULL;
}

static unsigned
targets_n(const struct ruleset_name *name)
{
	return name->vmta ? 1 : name->pool->members_n;
}

static const struct ruleset_vmta *
target(const struct ruleset_name *name, unsigned i)
{
	return name->vmta ? name->vmta : name->pool->members[i].vmta;
}

static bool
stands_for(const struct ruleset_name *name, const struct ruleset_vmta *vmta)
{
	for (unsigned i = 0; i < targets_n(name); i++)
		if (target(name, i) == vmta)
			return true;
	return false;
}

static void
note_circle(struct walk *walk, const struct loader_reroute *reroute, unsigned back_to)
{
	char path[400] = "";
	size_t used = 0;
	unsigned from = 0;
	walk->round = true;
	while (walk->steps[from].vmta != back_to)
		from++;
	for (unsigned i = from; i < walk->depth && used < 300; i++)
		used += (size_t)snprintf(path + used, sizeof(path) - used, "%.60s -> ", walk->ruleset->vmtas[walk->steps[i].vmta]->name);
	loader_error(walk->loader, &reroute->where, "backoff: reroute: \"%.100s\": the mail would go round: %s%s", reroute->name, path,
		     walk->ruleset->vmtas[back_to]->name);
}

/* Follows the next way out of the step at the end. False: there is none left. */
static bool
follow(struct walk *walk)
{
	struct step *step = &walk->steps[walk->depth - 1];
	const struct ruleset_vmta *vmta = walk->ruleset->vmtas[step->vmta];
	const struct reaction_list *list = ruleset_reactions(walk->ruleset, walk->site->provider, walk->site->domain, vmta);
	for (unsigned rules_n = reaction_list_n(list); step->rule < rules_n; step->rule++, step->member = 0) {
		const struct reaction *rule = reaction_list_at(list, step->rule);
		if (!rule->reroute)
			continue;
		struct loader_reroute *reroute = find(walk->loader, rule->reroute);
		const struct ruleset_name *name = table_get(&walk->ruleset->names, span_text(rule->reroute));
		reroute->asked = true;
		if (stands_for(name, vmta)) {
			/* To the others of its pool: what they send back the same way ends at home. */
			reroute->moves = reroute->moves || targets_n(name) > 1;
			continue;
		}
		reroute->moves = true;
		while (step->member < targets_n(name)) {
			unsigned next = target(name, step->member++)->index;
			if (walk->colours[next] == OPEN && !walk->round)
				note_circle(walk, reroute, next);
			if (walk->colours[next] != NEW)
				continue;
			walk->colours[next] = OPEN;
			walk->steps[walk->depth++] = (struct step){ .vmta = next };
			return true;
		}
	}
	return false;
}

static void
walk_site(struct walk *walk, const struct walk_site *site)
{
	unsigned n = walk->ruleset->vmtas_n;
	walk->site = site;
	memset(walk->colours, NEW, n);
	for (unsigned i = 0; i < n; i++) {
		if (walk->colours[i] != NEW)
			continue;
		walk->colours[i] = OPEN;
		walk->steps[0] = (struct step){ .vmta = i };
		walk->depth = 1;
		while (walk->depth)
			if (!follow(walk))
				walk->colours[walk->steps[--walk->depth].vmta] = DONE;
	}
}

static void
walk_block(struct walk *walk, const struct ruleset_block *block)
{
	struct walk_site site;
	if (block_value(block, SETTING_backoff) && walk_site_of(walk->ruleset, block, &site))
		walk_site(walk, &site);
	walk->site = NULL;
}

static void
walk_blocks(struct walk *walk, const struct ruleset_block *const *blocks, unsigned n)
{
	for (unsigned i = 0; i < n && !walk->round; i++)
		walk_block(walk, blocks[i]);
}

void
circle_check(struct loader *loader)
{
	const struct ruleset *ruleset = loader->ruleset;
	if (!loader->reroutes_n || !check_names(loader))
		return;
	struct walk walk = { .loader = loader, .ruleset = ruleset };
	walk.colours = mem_alloc(ruleset->vmtas_n + 1);
	walk.steps = mem_alloc((ruleset->vmtas_n + 1) * sizeof(*walk.steps));
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		walk_blocks(&walk, ruleset->vmtas[i]->blocks, ruleset->vmtas[i]->blocks_n);
	for (unsigned i = 0; i < ruleset->pools_n; i++)
		walk_blocks(&walk, ruleset->pools[i]->blocks, ruleset->pools[i]->blocks_n);
	walk_blocks(&walk, ruleset->blocks, ruleset->blocks_n);
	for (unsigned i = 0; i < loader->reroutes_n && !walk.round; i++) {
		const struct loader_reroute *reroute = &loader->reroutes[i];
		if (reroute->asked && !reroute->moves)
			loader_error(loader, &reroute->where, "backoff: reroute: \"%.100s\" is what the mail leaves by already: write another",
				     reroute->name);
	}
	free(walk.colours);
	free(walk.steps);
}
