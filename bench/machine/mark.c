/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Tells the plugin that counts a guest's instructions (count.c) something, by an instruction that does nothing else.
 *
 *   mark                            an interval ends, and the next one begins
 *   mark interrupt ADDRESS          a function of the kernel that handles an interrupt, by its address in hexadecimal
 *   mark softirq ADDRESS            one that handles softirqs
 *   mark scheduler ADDRESS          one that is called only for a task
 *   mark call ADDRESS               one that is called for each system call
 *   mark far ADDRESS                one of the driver of the far side's NIC
 *   mark far-interrupt ADDRESS      one that handles an interrupt of that NIC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	/* In the order of the plugin's. */
	static const char *const requests[] = {
		"", "interrupt", "softirq", "scheduler", "call", "far", "far-interrupt"
	};
	unsigned long what = 0, address = 0;

	if (argc == 3) {
		address = strtoul(argv[2], NULL, 16);
		for (unsigned long i = 1; i < sizeof(requests) / sizeof(*requests); i++)
			if (!strcmp(argv[1], requests[i]))
				what = i;
	}
	if (argc != 1 && (!what || !address)) {
		fprintf(stderr, "usage: mark [interrupt|softirq|scheduler|call|far|far-interrupt ADDRESS]\n");
		return 2;
	}
	asm volatile("nopl 0x706d6458(%%rax)" : : "D"(what), "S"(address) : "memory");
	return 0;
}
