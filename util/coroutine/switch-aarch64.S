/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Switching stacks on aarch64 (AAPCS64). */

/* A suspended stack, from its saved pointer up: x19..x30, d8..d15. */
#define FRAME 160

    .text

/* void tm_switch_stacks(void **save, void *load) */
    .globl tm_switch_stacks
    .type tm_switch_stacks, %function
    .p2align 4
tm_switch_stacks:
    .cfi_startproc
    sub sp, sp, #FRAME
    .cfi_adjust_cfa_offset FRAME
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    .cfi_rel_offset x29, 80
    .cfi_rel_offset x30, 88
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x2, sp
    str x2, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #FRAME
    .cfi_adjust_cfa_offset -FRAME
    br x30
    .cfi_endproc
    .size tm_switch_stacks, . - tm_switch_stacks

/* Where a new stack starts; x19 holds the function, which never returns. */
    .type tm_first_frame, %function
    .p2align 4
tm_first_frame:
    .cfi_startproc
    .cfi_undefined x30
    blr x19
    brk #1
    .cfi_endproc
    .size tm_first_frame, . - tm_first_frame

/* void *tm_switch_init(void *bottom, void *top, void (*start)(void)) */
    .globl tm_switch_init
    .type tm_switch_init, %function
    .p2align 4
tm_switch_init:
    .cfi_startproc
    and x1, x1, #-16
    sub x0, x1, #FRAME
    stp x2, xzr, [x0, #0]
    stp xzr, xzr, [x0, #16]
    stp xzr, xzr, [x0, #32]
    stp xzr, xzr, [x0, #48]
    stp xzr, xzr, [x0, #64]
    adr x3, tm_first_frame
    stp xzr, x3, [x0, #80]
    stp xzr, xzr, [x0, #96]
    stp xzr, xzr, [x0, #112]
    stp xzr, xzr, [x0, #128]
    stp xzr, xzr, [x0, #144]
    ret
    .cfi_endproc
    .size tm_switch_init, . - tm_switch_init

    .section .note.GNU-stack, "", %progbits
