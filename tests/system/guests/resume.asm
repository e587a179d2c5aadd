; RF in the flags that exceptions and interrupts push (SDM volume 3, 18.3.1.1), and instruction breakpoints: once for an instruction, once for all
; iterations of a repeated one when the handler sets RF.
%include "common.nasm"

TIMER           equ 0x40
SOURCE          equ SCRATCH + 0x100000
TARGET          equ SCRATCH + 0x110000

        bits 32
main:
        LINE "resume"
        LONG go

        bits 64
; RF of the last exception that TRIED reported
%macro RESUMES 1
        mov rax, [exc_flags]
        shr eax, 16
        and eax, 1
        SHOW %1, rax
%endmacro

on_breakpoint:
        inc qword [hits]
        mov rax, [rbp + 24]             ; error, RIP, CS, RFLAGS
        shr eax, 16
        and eax, 1
        or [seen], rax
        or dword [rbp + 24], 0x10000
        ret
on_timer:
        inc qword [ticks]
        mov rax, [rbp + 24]
        shr eax, 16
        and eax, 1
        mov [seen], rax
        mov rax, [rbp + 8]
        sub rax, [place]
        mov [where], rax
        mov dword [abs LOCAL_APIC + 0xb0], 0
        ret

; BREAKPOINT address: in DR0, for execution
%macro BREAKPOINT 1
        mov qword [hits], 0
        mov qword [seen], 0
        mov eax, %1
        mov dr0, rax
        mov eax, 0x401
        mov dr7, rax
%endmacro
%macro NO_BREAKPOINT 0
        mov eax, 0x400
        mov dr7, rax
%endmacro

go:
        TRY
        ud2
        TRIED "ud2"
        RESUMES "rf of #UD"
        TRY
        mov rax, 0x800000000000
        mov rax, [rax]
        TRIED "non-canonical"
        RESUMES "rf of #GP"
        TRY
        xor ecx, ecx
        div ecx
        TRIED "div"
        RESUMES "rf of #DE"
        TRY
        int3
        TRIED "int3"
        RESUMES "rf of #BP"
        TRY
        int 0x50
        TRIED "int"
        RESUMES "rf of int"
        TRY
        pushfq
        or dword [rsp], 0x100
        popfq
        nop
        TRIED "step"
        RESUMES "rf of the single-step #DB"

        mov dword [hooks + 1 * 4], on_breakpoint
        BREAKPOINT .once
        mov ecx, 3
.once:  dec ecx
        jnz .once
        NO_BREAKPOINT
        SHOW "hits in a loop of 3", [hits]
        SHOW "rf of the breakpoint's #DB", [seen]

        BREAKPOINT .repeated
        mov ecx, 10
        mov esi, SOURCE
        mov edi, TARGET
.repeated:
        rep movsb
        NO_BREAKPOINT
        SHOW "hits of rep movsb", [hits]
        SHOW "rcx", rcx
        mov dword [hooks + 1 * 4], 0

        ; a timer's interrupt inside a repeated instruction, and between instructions
        mov dword [hooks + TIMER * 4], on_timer
        mov dword [abs LOCAL_APIC + 0xf0], 0x1ff
        mov dword [abs LOCAL_APIC + 0x3e0], 11
        mov dword [abs LOCAL_APIC + 0x320], TIMER       ; one shot
        mov qword [place], .inside
        mov r8d, 1000
.again: mov qword [ticks], 0
        mov dword [abs LOCAL_APIC + 0x380], 20000
        sti
        mov esi, SOURCE + 0x1000000
        mov edi, TARGET + 0x2000000
        mov ecx, 0x800000
        std
.inside:
        rep movsb
        cld
.wait:  pause
        cmp qword [ticks], 0
        je .wait
        cli
        ; Once more when it came elsewhere: the host was slow.
        cmp qword [where], 0
        je .came
        dec r8d
        jnz .again
.came:  SHOW "interrupt inside rep movsb: rf", [seen]
        mov qword [ticks], 0
        mov dword [abs LOCAL_APIC + 0x380], 20000
        sti
.loop:  cmp qword [ticks], 0
        je .loop
        cli
        SHOW "interrupt between instructions: rf", [seen]
        LINE "end"
        EXIT

        align 8
hits:           dq 0
seen:           dq 0
ticks:          dq 0
place:          dq 0
where:          dq 0
