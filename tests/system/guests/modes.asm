; Switches between protected, long, compatibility and real mode.
%include "common.nasm"

        bits 32
main:
        LINE "modes"
        mov eax, cr0
        and eax, 0x80000001
        SHOW "cr0 PG PE at start", eax
        call load_tss32
        str eax
        SHOW "tr", eax

        ; Real mode: through a 16-bit code segment, at an address below 64 KiB.
        mov esi, real_start
        mov edi, REAL_BASE
        mov ecx, real_end - real_start
        rep movsb
        mov [saved_esp], esp
        jmp CODE16:REAL_BASE + (leave_protected - real_start)

back_from_real:
        bits 32
        mov eax, DATA32
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov esp, [saved_esp]
        lidt [idt_pointer]
        SHOW "real mode int vector 0x40 gave", [REAL_BASE + (real_value - real_start)]
        SHOW "ivt int 0x41 from flags pushed", [REAL_BASE + (real_flags - real_start)]
        SHOW "segment arithmetic", [REAL_BASE + (real_segment - real_start)]
        SHOW "unreal limit", [REAL_BASE + (unreal_value - real_start)]
        LONG in_long

        bits 64
in_long:
        LINE "long mode"
        mov ecx, 0xc0000080
        rdmsr
        and eax, 0xd00
        SHOW "efer LME LMA NXE", rax
        mov rax, cr0
        shr rax, 31
        and eax, 1
        SHOW "cr0 PG", rax
        mov rax, 0x123456789abcdef0
        SHOW "64-bit number", rax
        mov rcx, 0x1122334455667788
        mov ecx, ecx
        SHOW "zero extension", rcx

        ; Compatibility mode and back.
        mov rax, 0xfedcba9876543210
        mov r8, 0x1111222233334444
        push qword CODE32
        push qword compat
        retfq
        bits 32
compat:
        mov [value1], eax
        mov eax, -1
        inc eax                         ; 40 is INC here, a REX prefix in 64-bit mode
        db 0x40
        db 0x48                         ; DEC EAX
        mov [value2], eax
        mov eax, cs
        mov [value3], eax
        jmp CODE64:back_long
        bits 64
back_long:
        SHOW "compatibility eax", [value1]
        SHOW "compatibility inc dec", [value2]
        SHOW "compatibility cs", [value3]
        SHOW "r8 kept", r8

        ; 16-bit compatibility mode.
        push qword FREE_SEL
        push qword 0x10
        mov eax, compat16 - 0x10
        shl rax, 16
        mov rcx, 0x00009a000000ffff
        or rax, rcx
        mov [gdt + FREE_SEL], rax
        retfq
        bits 16
compat16:
        mov ax, 0x1234
        push ax
        pop bx
        mov [value4], bx                ; DS is flat; 16-bit address
        db 0x66, 0xea
        dd back_long2
        dw CODE64
        bits 64
back_long2:
        and ebx, 0xffff
        SHOW "16-bit compatibility bx", rbx

        ; Long mode to 32-bit protected mode without paging.
        push qword CODE32
        push qword leave_long
        retfq
        bits 32
leave_long:
        mov eax, cr0
        and eax, 0x7fffffff
        mov cr0, eax
        mov ecx, 0xc0000080
        rdmsr
        and eax, ~0x100
        wrmsr
        lidt [idt_pointer]
        rdmsr
        and eax, 0x500
        SHOW "efer after leaving", eax
        mov eax, cr0
        and eax, 0x80000001
        SHOW "cr0 PG PE", eax
        TRY
        ud2
        TRIED "ud2 in protected mode"

        LINE "end"
        EXIT

        align 4
saved_esp:      dd 0
value1:         dq 0
value2:         dq 0
value3:         dq 0
value4          equ 0x6000

REAL_BASE       equ 0x7000
        bits 16
real_start:
%define REAL(label) (REAL_BASE + (label - real_start))
leave_protected:
        mov ax, DATA16
        mov ds, ax
        mov es, ax
        mov ss, ax
        ; FS keeps a 4 GiB limit in real mode.
        mov ax, DATA32
        mov fs, ax
        mov eax, cr0
        and eax, ~1
        mov cr0, eax
        jmp 0:REAL(in_real)
in_real:
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x6ff0
        lidt [REAL(real_idt)]
        mov word [0x40 * 4], REAL(handler40)
        mov word [0x40 * 4 + 2], 0
        mov word [0x41 * 4], REAL(handler41)
        mov word [0x41 * 4 + 2], 0
        int 0x40
        stc
        int 0x41
        ; 20-bit addresses by segment arithmetic
        mov ax, 0x1234
        mov es, ax
        mov dword [es:0x10], 0xcafe0001
        mov ax, 0x1235
        mov es, ax
        mov eax, [es:0]
        mov [REAL(real_segment)], eax
        ; beyond 64 KiB through the cached limit of FS
        mov esi, 0x450000
        mov dword [fs:esi], 0x5eed
        mov eax, [fs:esi]
        mov [REAL(unreal_value)], eax
        lgdt [REAL(real_gdt)]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword CODE32:back_from_real
handler40:
        mov dword [REAL(real_value)], 0x40404040
        iret
handler41:
        mov bp, sp
        mov ax, [bp + 4]
        and ax, 0x0203                  ; CF as it was, IF clear
        mov [REAL(real_flags)], ax
        iret
        align 4
real_idt:       dw 0x3ff
                dd 0
real_gdt:       dw gdt_end - gdt - 1
                dd gdt
                align 4
real_value:     dd 0
real_flags:     dd 0
real_segment:   dd 0
unreal_value:   dd 0
real_end:
