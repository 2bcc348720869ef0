/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A plugin of QEMU's emulator (TCG) that counts the instructions of a guest with one processor.
 *
 * Each instruction is counted where it is, by the address of its block, and by what it was executed for: a task (user
 * space or kernel), an interrupt handler, a softirq, or the far side. That is a second NIC of the guest, which answers
 * what is measured: its driver has functions of its own, and all that they call is theirs. A program in the guest ends
 * an interval of counting (mark.c); the counts of each interval are appended to the file of the argument `out`:
 *
 *   mark SLEEPS CALLS                                     how often the processor slept, and system calls
 *   START BYTES INSTRUCTIONS TASK INTERRUPT SOFTIRQ FAR   for each block: how often it was executed in each context
 *
 * What always holds: a block is counted once for each execution. QEMU ends a block early for a page fault, and begins a
 * block anew after an access to a device; so counts may be too high by some instructions for each of these.
 *
 * QEMU's header is not in Debian's packages. The declarations here are those of version 4 of its interface.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- QEMU's and GLib's declarations */

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_register;

enum qemu_plugin_cb_flags { NO_REGISTERS, READ_REGISTERS };

struct register_descriptor {
	struct qemu_plugin_register *handle;
	const char *name;
	const char *feature;
};

/* GArray and GByteArray, as far as they are public. */
struct array {
	char *data;
	unsigned int len;
};

typedef void (*on_translation)(uint64_t plugin, struct qemu_plugin_tb *block);
typedef void (*on_execution)(unsigned int processor, void *told);
typedef void (*on_processor)(uint64_t plugin, unsigned int processor);

void qemu_plugin_register_vcpu_init_cb(uint64_t plugin, on_processor callback);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t plugin, on_translation callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, on_execution callback,
					  enum qemu_plugin_cb_flags flags, void *told);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *instruction, on_execution callback,
					    enum qemu_plugin_cb_flags flags, void *told);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *instruction);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction, void *to, size_t len);
struct array *qemu_plugin_get_registers(void);
int qemu_plugin_read_register(struct qemu_plugin_register *handle, struct array *to);
struct array *g_byte_array_new(void);
struct array *g_byte_array_set_size(struct array *array, unsigned int len);

EXPORT int qemu_plugin_version = 4;

/* ---- what is counted */

enum context { TASK, INTERRUPT, SOFTIRQ, FAR_SIDE, CONTEXTS };

/* What a mark asks for, in RDI; the address of a function, if it names one, is in RSI. */
enum request {
	END_INTERVAL,
	INTERRUPT_HANDLER,
	SOFTIRQ_HANDLER,
	/* The scheduler, which is called only for a task. */
	SCHEDULER,
	SYSTEM_CALL,
	/* A function of the far side's driver, and one that handles its interrupt. */
	FAR_FUNCTION,
	FAR_INTERRUPT_HANDLER,
	REQUESTS,
};

struct block {
	struct block *next;
	uint64_t start, end;
	uint64_t instructions;
	/* What the function does that starts here; END_INTERVAL for nothing. */
	enum request function;
	/* Whether the processor sleeps at its end. */
	bool halts;
	uint64_t executed[CONTEXTS];
};

struct function {
	uint64_t address;
	enum request what;
};

enum {
	BUCKETS = 1 << 16,
	FUNCTIONS_MAX = 256,
	/* A softirq interrupts a task, and an interrupt either. */
	NESTED_MAX = 8,
	/* More blocks than the kernel executes from an interrupt's begin to the driver's handler. */
	BEGUN_MAX = 4096,
	MARK_LEN = 7,
	HLT = 0xf4,
};

/* nopl 0x706d6458(%rax) */
static const uint8_t MARK[MARK_LEN] = { 0x0f, 0x1f, 0x80, 0x58, 0x64, 0x6d, 0x70 };

static FILE *out;
static struct block *blocks[BUCKETS];
static struct function functions[FUNCTIONS_MAX];
static size_t num_functions;
static const struct block *last;
/* Where each of the nested interrupts and softirqs returns to, and what it is. */
static uint64_t returns[NESTED_MAX];
static enum context contexts[NESTED_MAX + 1];
static size_t depth;
/* What the latest interrupt has executed so far: at first nobody knows which driver it is for. */
static struct block *begun[BEGUN_MAX];
static size_t num_begun;
static uint64_t sleeps, calls;
static struct qemu_plugin_register *rdi, *rsi;
static struct array *value;

static uint64_t read_register(struct qemu_plugin_register *handle)
{
	uint64_t found = 0;

	g_byte_array_set_size(value, 0);
	if (qemu_plugin_read_register(handle, value) == sizeof(found))
		memcpy(&found, value->data, sizeof(found));
	return found;
}

static void end_interval(void)
{
	fprintf(out, "mark %" PRIu64 " %" PRIu64 "\n", sleeps, calls);
	sleeps = calls = 0;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct block *block = blocks[i]; block; block = block->next) {
			uint64_t *times = block->executed;

			if (!(times[TASK] | times[INTERRUPT] | times[SOFTIRQ] | times[FAR_SIDE]))
				continue;
			fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64, block->start, block->end - block->start,
				block->instructions);
			for (enum context context = TASK; context < CONTEXTS; context++)
				fprintf(out, " %" PRIu64, times[context]);
			fputc('\n', out);
			memset(times, 0, sizeof(block->executed));
		}
	}
	fflush(out);
}

static void name_function(uint64_t address, enum request what)
{
	if (num_functions == FUNCTIONS_MAX) {
		fprintf(stderr, "count: more functions are named than there is room for\n");
		exit(1);
	}
	functions[num_functions++] = (struct function){ address, what };
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct block *block = blocks[i]; block; block = block->next)
			if (block->start == address)
				block->function = what;
}

static void on_mark(unsigned int processor, void *told)
{
	uint64_t what = read_register(rdi);

	(void)processor;
	(void)told;
	if (what == END_INTERVAL)
		end_interval();
	else if (what < REQUESTS)
		name_function(read_register(rsi), what);
}

/* An interrupt handler, a softirq or the far side begins, which returns to behind the call. */
static void nest(enum context context)
{
	/* One function for softirqs calls the other. */
	if (depth == NESTED_MAX || !last || (context == SOFTIRQ && contexts[depth] == SOFTIRQ))
		return;
	returns[depth++] = last->end;
	contexts[depth] = context;
	if (context == INTERRUPT)
		num_begun = 0;
}

/* The interrupt that is being handled is the far side's, and so is what it has executed. */
static void hand_over_interrupt(void)
{
	if (contexts[depth] != INTERRUPT)
		return;
	for (size_t i = 0; i < num_begun; i++) {
		begun[i]->executed[INTERRUPT]--;
		begun[i]->executed[FAR_SIDE]++;
	}
	num_begun = 0;
	contexts[depth] = FAR_SIDE;
}

static void on_block(unsigned int processor, void *told)
{
	struct block *block = told;

	(void)processor;
	if (!(block->start >> 63) || block->function == SCHEDULER)
		depth = 0;
	else if (depth && block->start == returns[depth - 1])
		depth--;
	if (block->function == INTERRUPT_HANDLER)
		nest(INTERRUPT);
	else if (block->function == SOFTIRQ_HANDLER)
		nest(SOFTIRQ);
	else if (block->function == FAR_FUNCTION)
		nest(FAR_SIDE);
	else if (block->function == FAR_INTERRUPT_HANDLER)
		hand_over_interrupt();
	block->executed[contexts[depth]]++;
	if (contexts[depth] == INTERRUPT && num_begun < BEGUN_MAX)
		begun[num_begun++] = block;
	calls += block->function == SYSTEM_CALL;
	sleeps += block->halts;
	last = block;
}

static struct block *block_of(uint64_t start, uint64_t end, uint64_t instructions, bool halts)
{
	struct block **bucket = &blocks[(start ^ start >> 16) % BUCKETS], *block;

	for (block = *bucket; block; block = block->next)
		if (block->start == start && block->end == end && block->instructions == instructions)
			return block;
	block = calloc(1, sizeof(*block));
	if (!block)
		abort();
	*block = (struct block){
		.next = *bucket, .start = start, .end = end, .instructions = instructions, .halts = halts
	};
	for (size_t i = 0; i < num_functions; i++)
		if (functions[i].address == start)
			block->function = functions[i].what;
	*bucket = block;
	return block;
}

static void on_new_block(uint64_t plugin, struct qemu_plugin_tb *translated)
{
	size_t instructions = qemu_plugin_tb_n_insns(translated);
	struct qemu_plugin_insn *end = qemu_plugin_tb_get_insn(translated, instructions - 1);
	uint64_t start = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(translated, 0));
	uint64_t behind = qemu_plugin_insn_vaddr(end) + qemu_plugin_insn_size(end);
	uint8_t first = 0;
	bool halts = qemu_plugin_insn_data(end, &first, 1) == 1 && first == HLT;

	(void)plugin;
	qemu_plugin_register_vcpu_tb_exec_cb(translated, on_block, NO_REGISTERS,
					     block_of(start, behind, instructions, halts));
	for (size_t i = 0; i < instructions; i++) {
		struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(translated, i);
		uint8_t bytes[MARK_LEN];

		if (qemu_plugin_insn_data(instruction, bytes, MARK_LEN) == MARK_LEN && !memcmp(bytes, MARK, MARK_LEN))
			qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_mark, READ_REGISTERS, NULL);
	}
}

static void on_start(uint64_t plugin, unsigned int processor)
{
	struct array *registers = qemu_plugin_get_registers();
	const struct register_descriptor *all = (void *)registers->data;

	(void)plugin;
	if (processor) {
		fprintf(stderr, "count: the guest has more than one processor\n");
		exit(1);
	}
	value = g_byte_array_new();
	for (unsigned int i = 0; i < registers->len; i++) {
		if (!strcmp(all[i].name, "rdi"))
			rdi = all[i].handle;
		else if (!strcmp(all[i].name, "rsi"))
			rsi = all[i].handle;
	}
}

EXPORT int qemu_plugin_install(uint64_t plugin, const void *about, int argc, char **argv)
{
	(void)about;
	if (argc != 1 || strncmp(argv[0], "out=", 4) || !(out = fopen(argv[0] + 4, "w"))) {
		fprintf(stderr, "count: its only argument is out=FILE, a file that it can write\n");
		return -1;
	}
	qemu_plugin_register_vcpu_init_cb(plugin, on_start);
	qemu_plugin_register_vcpu_tb_trans_cb(plugin, on_new_block);
	return 0;
}
