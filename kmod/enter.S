/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Into the guest and back (AMD64 Architecture Programmer's Manual, volume 2,
 * 15.5 "VMRUN instruction", 15.17 "Global interrupt flag").
 */

#include <linux/version.h>
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/nospec-branch.h>

/* struct dune_gprs */
#define RBX 0
#define RCX 8
#define RDX 16
#define RSI 24
#define RDI 32
#define RBP 40
#define R8  48
#define R9  56
#define R10 64
#define R11 72
#define R12 80
#define R13 88
#define R14 96
#define R15 104

.text

/*
 * void dune_svm_enter(u64 vmcb, struct dune_gprs *gprs, u64 host)
 *
 * "vmcb" and "host" are physical addresses. Called with interrupts off. The
 * global interrupt flag is clear from the first host register that changes to
 * the last that is restored, so neither interrupt nor NMI sees the guest's.
 * While the guest runs, the host's IF counts for interrupts: hence STI.
 */
SYM_FUNC_START(dune_svm_enter)
	push %rbp
	push %r15
	push %r14
	push %r13
	push %r12
	push %rbx
	push %rdx
	push %rsi

	clgi
	mov %rdx, %rax
	vmsave %rax
	mov %rdi, %rax

	mov RBX(%rsi), %rbx
	mov RCX(%rsi), %rcx
	mov RDX(%rsi), %rdx
	mov RDI(%rsi), %rdi
	mov RBP(%rsi), %rbp
	mov R8(%rsi), %r8
	mov R9(%rsi), %r9
	mov R10(%rsi), %r10
	mov R11(%rsi), %r11
	mov R12(%rsi), %r12
	mov R13(%rsi), %r13
	mov R14(%rsi), %r14
	mov R15(%rsi), %r15
	mov RSI(%rsi), %rsi

#ifdef VM_CLEAR_CPU_BUFFERS
	VM_CLEAR_CPU_BUFFERS
#elif defined(CLEAR_CPU_BUFFERS)
	CLEAR_CPU_BUFFERS
#endif
	vmload %rax
	sti
	vmrun %rax
	cli
	vmsave %rax

	mov (%rsp), %rax
	mov %rbx, RBX(%rax)
	mov %rcx, RCX(%rax)
	mov %rdx, RDX(%rax)
	mov %rsi, RSI(%rax)
	mov %rdi, RDI(%rax)
	mov %rbp, RBP(%rax)
	mov %r8, R8(%rax)
	mov %r9, R9(%rax)
	mov %r10, R10(%rax)
	mov %r11, R11(%rax)
	mov %r12, R12(%rax)
	mov %r13, R13(%rax)
	mov %r14, R14(%rax)
	mov %r15, R15(%rax)

	mov 8(%rsp), %rax
	vmload %rax

	/* Nothing of the guest's steers the host's predictions or registers. */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RETPOLINE
#ifdef UNTRAIN_RET_VM
	UNTRAIN_RET_VM
#else
	UNTRAIN_RET
#endif
	xor %eax, %eax
	xor %ebx, %ebx
	xor %ecx, %ecx
	xor %edx, %edx
	xor %esi, %esi
	xor %edi, %edi
	xor %ebp, %ebp
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	xor %r12d, %r12d
	xor %r13d, %r13d
	xor %r14d, %r14d
	xor %r15d, %r15d
	stgi

	add $16, %rsp
	pop %rbx
	pop %r12
	pop %r13
	pop %r14
	pop %r15
	pop %rbp
	RET
SYM_FUNC_END(dune_svm_enter)
