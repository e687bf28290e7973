/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Switching stacks on x86-64 (System V calling convention). */

/*
 * A suspended stack, from its saved pointer up:
 *     r15 r14 r13 r12 rbx rbp return-address
 * The control words of the floating point units are never changed here.
 */
    .text

/* void tm_switch_stacks(void **save, void *load) */
    .globl tm_switch_stacks
    .type tm_switch_stacks, @function
    .p2align 4
tm_switch_stacks:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    .cfi_adjust_cfa_offset -8
    popq %r14
    .cfi_adjust_cfa_offset -8
    popq %r13
    .cfi_adjust_cfa_offset -8
    popq %r12
    .cfi_adjust_cfa_offset -8
    popq %rbx
    .cfi_adjust_cfa_offset -8
    popq %rbp
    .cfi_adjust_cfa_offset -8
    /* A jump, as the return stack of the processor predicts another caller. */
    popq %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register rip, rcx
    jmp *%rcx
    .cfi_endproc
    .size tm_switch_stacks, . - tm_switch_stacks

/* Where a new stack starts; rbx holds the function, which never returns. */
    .type tm_first_frame, @function
    .p2align 4
tm_first_frame:
    .cfi_startproc
    .cfi_undefined rip
    callq *%rbx
    ud2
    .cfi_endproc
    .size tm_first_frame, . - tm_first_frame

/* void *tm_switch_init(void *bottom, void *top, void (*start)(void)) */
    .globl tm_switch_init
    .type tm_switch_init, @function
    .p2align 4
tm_switch_init:
    .cfi_startproc
    /* tm_first_frame starts at an aligned pointer, so its call is proper. */
    andq $-16, %rsi
    leaq -56(%rsi), %rax
    xorl %ecx, %ecx
    movq %rcx, (%rax)
    movq %rcx, 8(%rax)
    movq %rcx, 16(%rax)
    movq %rcx, 24(%rax)
    movq %rdx, 32(%rax)
    movq %rcx, 40(%rax)
    leaq tm_first_frame(%rip), %rcx
    movq %rcx, 48(%rax)
    ret
    .cfi_endproc
    .size tm_switch_init, . - tm_switch_init

    .section .note.GNU-stack, "", @progbits
