/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Into the guest and back.
 */

#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/percpu.h>

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
#define RAX 112

#define HOST_RSP 0x6c14

/* All but the pointer in RAX. */
.macro SAVE_GUEST
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
.endm

/* All but the pointer in RSI and RAX; flags stay. */
.macro LOAD_GUEST
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
.endm

/* Nothing of the guest's in the host's speculation. */
.macro CLEAR_REGISTERS
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
.endm

/*
 * Nothing of the kernel's in the processor's buffers, where the kernel clears
 * them. AMD's processors have a feature bit of their own for guests, in kernels
 * that know of it; Intel's are cleared as on the way to user code.
 */
.macro CLEAR_BUFFERS_AMD
#ifdef VM_CLEAR_CPU_BUFFERS
	VM_CLEAR_CPU_BUFFERS
#elif defined(X86_FEATURE_CLEAR_CPU_BUF)
	CLEAR_CPU_BUFFERS
#endif
.endm

.macro CLEAR_BUFFERS_INTEL
#ifdef X86_FEATURE_CLEAR_CPU_BUF
	CLEAR_CPU_BUFFERS
#endif
.endm

.macro SAVE_HOST
	push %rbp
	push %r15
	push %r14
	push %r13
	push %r12
	push %rbx
.endm

.macro RESTORE_HOST
	pop %rbx
	pop %r12
	pop %r13
	pop %r14
	pop %r15
	pop %rbp
.endm

.text

/*
 * void dune_svm_enter(u64 vmcb, struct dune_gprs *gprs, u64 host)
 *
 * AMD64 Architecture Programmer's Manual, volume 2, 15.5 "VMRUN instruction",
 * 15.17 "Global interrupt flag".
 *
 * "vmcb" and "host" are physical addresses. Called with interrupts off. The
 * global interrupt flag is clear from the first host register that changes to
 * the last that is restored, so neither interrupt nor NMI sees the guest's.
 * While the guest runs, the host's IF counts for interrupts: hence STI.
 */
SYM_FUNC_START(dune_svm_enter)
	SAVE_HOST
	push %rdx
	push %rsi

	clgi
	mov %rdx, %rax
	vmsave %rax
	mov %rdi, %rax
	LOAD_GUEST
	CLEAR_BUFFERS_AMD
	vmload %rax
	sti
	vmrun %rax
	cli
	vmsave %rax

	mov (%rsp), %rax
	SAVE_GUEST
	mov 8(%rsp), %rax
	vmload %rax

	/* Nothing of the guest's steers the host's predictions. */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RETPOLINE
#ifdef UNTRAIN_RET_VM
	UNTRAIN_RET_VM
#else
	UNTRAIN_RET
#endif
	CLEAR_REGISTERS
	stgi

	add $16, %rsp
	RESTORE_HOST
	RET
SYM_FUNC_END(dune_svm_enter)

/*
 * int dune_vmx_enter(struct dune_gprs *gprs, bool launched)
 *
 * Intel Software Developer's Manual, volume 3, chapters "VM entries" and "VM
 * exits". Called with interrupts off and the VMCS current; an exit leaves them
 * off and continues at dune_vmx_exit, with the stack as it was. 1: the
 * processor has refused.
 */
SYM_FUNC_START(dune_vmx_enter)
	SAVE_HOST
	push %rdi

	mov $HOST_RSP, %eax
	vmwrite %rsp, %rax
	mov %rdi, %rax
	/* In CF: what follows may change ZF, but not this. */
	bt $0, %esi
	mov %rax, %rsi
	mov RAX(%rsi), %rax
	LOAD_GUEST
	CLEAR_BUFFERS_INTEL
	UNWIND_HINT_SAVE
	jnc .Llaunch
	vmresume
	jmp .Lrefused
.Llaunch:
	vmlaunch
.Lrefused:
	CLEAR_REGISTERS
	mov $1, %eax
	jmp .Lout

SYM_INNER_LABEL(dune_vmx_exit, SYM_L_GLOBAL)
	UNWIND_HINT_RESTORE
	ENDBR
	push %rax
	mov 8(%rsp), %rax
	SAVE_GUEST
	pop RAX(%rax)

	/*
	 * Nothing of the guest's steers the host's predictions: before the first
	 * RET, and with the kernel's SPEC_CTRL written anew where it asks for
	 * that at every entry from a lower privilege.
	 */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, \
			   X86_FEATURE_RSB_VMEXIT_LITE
	CLEAR_REGISTERS
	ALTERNATIVE "jmp .Lspec_ctrl_done", "", X86_FEATURE_KERNEL_IBRS
	mov $MSR_IA32_SPEC_CTRL, %ecx
	mov PER_CPU_VAR(x86_spec_ctrl_current), %eax
	xor %edx, %edx
	wrmsr
	xor %eax, %eax
	xor %ecx, %ecx
.Lspec_ctrl_done:
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	CLEAR_BRANCH_HISTORY_VMEXIT
	xor %eax, %eax
	xor %ecx, %ecx
#endif
.Lout:
	add $8, %rsp
	RESTORE_HOST
	RET
SYM_FUNC_END(dune_vmx_enter)
