; What every guest shares: the multiboot header, text on COM1, exceptions as results, the ways into long mode.
;
; A guest is a flat binary at 1 MiB, started in 32-bit protected mode at `main` with flat segments, interrupts off and a stack.
; It prints lines and ends by EXIT. Nothing that depends on time or on the model of the processor is printed.

        org 0x100000
        bits 32

MULTIBOOT_FLAGS equ 0x10000
        align 4
multiboot_header:
        dd 0x1badb002, MULTIBOOT_FLAGS, -(0x1badb002 + MULTIBOOT_FLAGS)
        dd multiboot_header, image_start, 0, 0, entry
image_start equ $$

; Memory beyond the image, cleared by nobody unless a guest does.
STACK_TOP       equ 0x280000            ; 32-bit and ring 0 stack
USER_STACK_TOP  equ 0x290000
IST_TOP         equ 0x2a0000
TABLES          equ 0x300000            ; page tables: 16 pages
SCRATCH         equ 0x400000            ; 2 MiB for the guest's own use
EXIT_PORT       equ 0xf4
COM1            equ 0x3f8

; Selectors of the GDT below.
CODE32          equ 0x08
DATA32          equ 0x10
CODE64          equ 0x18
CODE16          equ 0x20
DATA16          equ 0x28
USER_CODE32     equ 0x30 | 3
USER_DATA       equ 0x38 | 3
USER_CODE64     equ 0x40 | 3
TSS_SEL         equ 0x48                ; two slots
FREE_SEL        equ 0x58                ; slots from here on are the guest's: 0x58 ... 0xf8

entry:
        mov esp, STACK_TOP
        cld
        lgdt [gdt_pointer]
        jmp CODE32:.flat
.flat:
        mov eax, DATA32
        mov ds, eax
        mov es, eax
        mov ss, eax
        xor eax, eax
        mov fs, eax
        mov gs, eax
        lldt ax
        ; 115200 8N1, FIFOs on, no interrupts
        mov dx, COM1 + 1
        xor eax, eax
        out dx, al
        mov dx, COM1 + 3
        mov al, 0x83
        out dx, al
        mov dx, COM1
        mov al, 1
        out dx, al
        inc dx
        xor al, al
        out dx, al
        mov dx, COM1 + 3
        mov al, 3
        out dx, al
        dec dx
        mov al, 0xc7
        out dx, al
        ; both 8259 masked: what arrives is an exception or asked for
        mov al, 0xff
        out 0x21, al
        out 0xa1, al
        call build_idt32
        jmp main

        align 16
gdt:
        dq 0
        dq 0x00cf9b000000ffff           ; CODE32
        dq 0x00cf93000000ffff           ; DATA32
        dq 0x00af9b000000ffff           ; CODE64
        dq 0x00009b000000ffff           ; CODE16
        dq 0x000093000000ffff           ; DATA16
        dq 0x00cffb000000ffff           ; USER_CODE32
        dq 0x00cff3000000ffff           ; USER_DATA
        dq 0x00affb000000ffff           ; USER_CODE64
        times 23 dq 0
gdt_end:
gdt_pointer:
        dw gdt_end - gdt - 1
        dq gdt
idt_pointer:
        dw 256 * 8 - 1
        dd idt32
idt_pointer64:
        dw 256 * 16 - 1
        dq idt64

; The last exception: -1 when none came.
        align 8
exc_vector:     dq -1
exc_error:      dq 0
exc_ip:         dq 0
exc_cs:         dq 0
exc_flags:      dq 0
exc_sp:         dq 0                    ; in 32-bit mode only valid after a privilege change
exc_ss:         dq 0
exc_cr2:        dq 0
exc_handler_sp: dq 0
resume_ip:      dq unexpected32
resume_sp:      dq STACK_TOP
try_start:      dq 0
saved_number:   dq 0
; Called instead of the common treatment when not 0; may return, and the interrupted code goes on. 32-bit: EBP, 64-bit: RBP points at
; the frame (error code first).
hooks:          times 256 dd 0

; ---------------------------------------------------------------------------------------------------------------------
; Text, 32-bit and 64-bit (registers are kept)

%macro TEXT_FUNCTIONS 2                 ; suffix, width of a register in bits
putc%1:                                 ; AL
        push AX%1
        push DX%1
        mov ah, al
        mov dx, COM1 + 5
%%wait: in al, dx
        test al, 0x20
        jz %%wait
        mov al, ah
        mov dx, COM1
        out dx, al
        pop DX%1
        pop AX%1
        ret
puts%1:                                 ; SI: text ending in 0
        push AX%1
        push SI%1
%%next: mov al, [SI%1]
        inc SI%1
        test al, al
        jz %%end
        call putc%1
        jmp %%next
%%end:  pop SI%1
        pop AX%1
        ret
hex%1:                                  ; AX: number without leading zeros
        push AX%1
        push CX%1
        push DX%1
        mov DX%1, AX%1
        mov ecx, %2
%%skip: sub ecx, 4
        jz %%digit
        mov AX%1, DX%1
        shr AX%1, cl
        test al, 15
        jz %%skip
%%digit:
        mov AX%1, DX%1
        shr AX%1, cl
        and al, 15
        add al, '0'
        cmp al, '9'
        jbe %%put
        add al, 'a' - '0' - 10
%%put:  call putc%1
        sub ecx, 4
        jns %%digit
        pop DX%1
        pop CX%1
        pop AX%1
        ret
%endmacro

%define AX32 eax
%define CX32 ecx
%define DX32 edx
%define SI32 esi
%define AX64 rax
%define CX64 rcx
%define DX64 rdx
%define SI64 rsi

        bits 32
        TEXT_FUNCTIONS 32, 32
        bits 64
        TEXT_FUNCTIONS 64, 64
        bits 32

; PRINT "text": flags and registers are kept.
%macro PRINT 1+
        jmp %%over
%%text: db %1, 0
%%over:
%if __?BITS?__ == 64
        pushfq
        push rsi
        mov esi, %%text
        call puts64
        pop rsi
        popfq
%else
        pushfd
        push esi
        mov esi, %%text
        call puts32
        pop esi
        popfd
%endif
%endmacro

%macro LINE 1+
        PRINT %1, 10
%endmacro

; NUMBER register-or-memory: in hex, of the mode's width.
%macro NUMBER 1
%if __?BITS?__ == 64
        pushfq
        push rax
        mov rax, %1
        call hex64
        pop rax
        popfq
%else
        pushfd
        push eax
        mov eax, %1
        call hex32
        pop eax
        popfd
%endif
%endmacro

; SHOW "name", value: a whole line.
%macro SHOW 2
        PRINT %1, "="
        NUMBER %2
        PRINT 10
%endmacro

%macro EXIT 0
        mov al, 0
        out EXIT_PORT, al
%%stop: cli
        hlt
        jmp %%stop
%endmacro

; ---------------------------------------------------------------------------------------------------------------------
; Exceptions: TRY ... code ... TRIED "name" prints what came of the code: `name: ok`, or vector, error code and where.
; After an exception execution goes on after the code, on the stack that TRY saw and at the handler's privilege. An exception that nobody
; tried for ends the guest.

%macro TRY 0
        %push try
%if __?BITS?__ == 64
        mov qword [resume_ip], %$after
        mov [resume_sp], rsp
        mov qword [exc_vector], -1
        mov qword [try_start], %$begin
%else
        mov dword [resume_ip], %$after
        mov [resume_sp], esp
        mov dword [exc_vector], -1
        mov dword [exc_vector + 4], -1
        mov dword [try_start], %$begin
%endif
%$begin:
%endmacro

%macro TRIED 1
%$after:
        PRINT %1, ": "
%if __?BITS?__ == 64
        call report64
%else
        call report32
%endif
        %pop
%endmacro

        bits 32
report32:
        mov dword [resume_ip], unexpected32
        mov dword [resume_sp], STACK_TOP
        cmp dword [exc_vector], -1
        jne .exception
        LINE "ok"
        ret
.exception:
        push eax
        PRINT "vector "
        NUMBER [exc_vector]
        PRINT " error "
        NUMBER [exc_error]
        mov eax, [exc_ip]
        sub eax, [try_start]
        cmp eax, 256
        jae .elsewhere
        PRINT " at +"
        NUMBER eax
.elsewhere:
        cmp dword [exc_vector], 14
        jne .end
        PRINT " cr2 "
        NUMBER [exc_cr2]
.end:
        PRINT 10
        pop eax
        ret

unexpected32:
        PRINT "unexpected: "
        mov dword [try_start], 0
        call report32
        SHOW "at", [exc_ip]
        EXIT

        bits 64
report64:
        mov dword [resume_ip], unexpected64
        mov dword [resume_sp], STACK_TOP
        cmp dword [exc_vector], -1
        jne .exception
        LINE "ok"
        ret
.exception:
        push rax
        PRINT "vector "
        NUMBER [exc_vector]
        PRINT " error "
        NUMBER [exc_error]
        mov rax, [exc_ip]
        sub rax, [try_start]
        cmp rax, 256
        jae .elsewhere
        PRINT " at +"
        NUMBER rax
.elsewhere:
        cmp dword [exc_vector], 14
        jne .end
        PRINT " cr2 "
        NUMBER [exc_cr2]
.end:
        PRINT 10
        pop rax
        ret

unexpected64:
        PRINT "unexpected: "
        mov qword [try_start], 0
        call report64
        SHOW "at", [exc_ip]
        EXIT

%macro STUBS 1
        align 16
stubs%1:
%assign number 0
%rep 256
        align 16
%if number != 8 && (number < 10 || number > 14) && number != 17 && number != 21
        push byte 0
%endif
        push strict dword number
        jmp strict near common%1
%assign number number + 1
%endrep
%endmacro

        bits 32
        STUBS 32
common32:
        ; [esp]: vector, error code, EIP, CS, EFLAGS, (ESP, SS)
        push eax
        mov ax, DATA32
        mov ds, ax
        mov es, ax
        mov eax, [esp + 4]
        cmp dword [hooks + eax * 4], 0
        jne .hook
        mov [exc_vector], eax
        mov eax, [esp + 8]
        mov [exc_error], eax
        mov eax, [esp + 12]
        mov [exc_ip], eax
        mov eax, [esp + 16]
        mov [exc_cs], eax
        mov eax, [esp + 20]
        mov [exc_flags], eax
        test dword [exc_flags], 0x20000         ; from virtual-8086 mode
        jnz .other_ring
        test byte [exc_cs], 3
        jz .same_ring
.other_ring:
        mov eax, [esp + 24]
        mov [exc_sp], eax
        mov eax, [esp + 28]
        mov [exc_ss], eax
.same_ring:
        mov eax, cr2
        mov [exc_cr2], eax
        lea eax, [esp + 8]
        mov [exc_handler_sp], eax
        mov ax, DATA32
        mov ss, ax
        mov esp, [resume_sp]
        push dword 2
        popfd
        cld
        jmp [resume_ip]
.hook:
        push ebp
        lea ebp, [esp + 12]
        pushad
        call [hooks + eax * 4]
        popad
        pop ebp
        pop eax
        add esp, 8
        test byte [esp + 4], 3
        jz .return
        ; IRET to ring 3 would clear DS and ES of ring 0
        push eax
        mov eax, USER_DATA
        mov ds, eax
        mov es, eax
        pop eax
.return:
        iretd

        bits 64
        STUBS 64
common64:
        ; [rsp]: vector, error code, RIP, CS, RFLAGS, RSP, SS
        push rax
        mov rax, [rsp + 8]
        cmp dword [hooks + rax * 4], 0
        jne .hook
        mov [exc_vector], rax
        mov rax, [rsp + 16]
        mov [exc_error], rax
        mov rax, [rsp + 24]
        mov [exc_ip], rax
        mov rax, [rsp + 32]
        mov [exc_cs], rax
        mov rax, [rsp + 40]
        mov [exc_flags], rax
        mov rax, [rsp + 48]
        mov [exc_sp], rax
        mov rax, [rsp + 56]
        mov [exc_ss], rax
        mov rax, cr2
        mov [exc_cr2], rax
        lea rax, [rsp + 16]
        mov [exc_handler_sp], rax
        mov eax, DATA32
        mov ss, eax
        mov rsp, [resume_sp]
        push 2
        popfq
        jmp [resume_ip]
.hook:
        push rbp
        lea rbp, [rsp + 24]
        push rcx
        push rdx
        push rsi
        push rdi
        push r8
        push r9
        mov eax, [hooks + rax * 4]
        call rax
        pop r9
        pop r8
        pop rdi
        pop rsi
        pop rdx
        pop rcx
        pop rbp
        pop rax
        add rsp, 16
        iretq

idt32           equ 0x2b0000
idt64           equ 0x2b1000
tss32           equ 0x2b3000
tss64           equ 0x2b4000

        bits 32
; 32-bit interrupt gates; 3 and 4 open to ring 3.
build_idt32:
        mov edi, idt32
        mov eax, stubs32
.next:  mov edx, eax
        mov word [edi + 2], CODE32
        mov [edi], dx
        shr edx, 16
        mov [edi + 6], dx
        mov word [edi + 4], 0x8e00
        add eax, 16
        add edi, 8
        cmp edi, idt32 + 256 * 8
        jb .next
        or byte [idt32 + 3 * 8 + 5], 0x60
        or byte [idt32 + 4 * 8 + 5], 0x60
        lidt [idt_pointer]
        ret

; 32-bit TSS with a ring 0 stack, loaded into TR.
load_tss32:
        mov edi, tss32
        mov ecx, 26
        xor eax, eax
        rep stosd
        mov dword [tss32 + 4], IST_TOP
        mov dword [tss32 + 8], DATA32
        mov word [tss32 + 102], 104
        mov dword [gdt + TSS_SEL], ((tss32 & 0xffff) << 16) | 103
        mov dword [gdt + TSS_SEL + 4], (tss32 & 0xff000000) | 0x8900 | ((tss32 >> 16) & 0xff)
        mov ax, TSS_SEL
        ltr ax
        ret

; 4-level tables: the first and the fourth GiB identity-mapped by 2 MiB pages for everybody, and the APICs a second time where a 32-bit
; displacement reaches them. PML4 at TABLES, PDPT + 0x1000, page directories + 0x2000 (GiB 0) and + 0x3000 (GiB 3).
LOCAL_APIC      equ 0x3fe00000
IO_APIC         equ 0x3fc00000
PML4            equ TABLES
PDPT            equ TABLES + 0x1000
PD0             equ TABLES + 0x2000
PD3             equ TABLES + 0x3000
build_tables:
        mov edi, TABLES
        mov ecx, 0x4000
        xor eax, eax
        rep stosd
        mov dword [PML4], PDPT | 7
        mov dword [PDPT], PD0 | 7
        mov dword [PDPT + 24], PD3 | 7
        mov edi, PD0
        mov eax, 0x87
.low:   mov [edi], eax
        add eax, 0x200000
        add edi, 8
        cmp eax, 0x40000000
        jb .low
        mov dword [PD0 + (LOCAL_APIC >> 21) * 8], 0xfee00097
        mov dword [PD0 + (IO_APIC >> 21) * 8], 0xfec00097
        mov edi, PD3
        mov eax, 0xc0000087
.high:  mov [edi], eax
        add edi, 8
        add eax, 0x200000
        jnc .high
        ret

; LONG label: from 32-bit mode to 64-bit mode with the IDT, TSS and tables above, SSE usable, NXE and SCE set.
%macro LONG 1
        mov dword [saved_number], %1
        jmp enter_long
%endmacro

enter_long:
        call build_tables
        mov edi, idt64
        mov eax, stubs64
.gate:  mov edx, eax
        mov [edi], dx
        mov word [edi + 2], CODE64
        mov word [edi + 4], 0x8e00
        shr edx, 16
        mov [edi + 6], dx
        mov dword [edi + 8], 0
        mov dword [edi + 12], 0
        add eax, 16
        add edi, 16
        cmp edi, idt64 + 256 * 16
        jb .gate
        or byte [idt64 + 3 * 16 + 5], 0x60
        or byte [idt64 + 4 * 16 + 5], 0x60
        mov edi, tss64
        mov ecx, 26
        xor eax, eax
        rep stosd
        mov dword [tss64 + 4], IST_TOP
        mov dword [tss64 + 36], IST_TOP + 0x8000
        mov word [tss64 + 102], 104
        mov dword [gdt + TSS_SEL], ((tss64 & 0xffff) << 16) | 103
        mov dword [gdt + TSS_SEL + 4], (tss64 & 0xff000000) | 0x8900 | ((tss64 >> 16) & 0xff)
        mov dword [gdt + TSS_SEL + 8], 0
        mov dword [gdt + TSS_SEL + 12], 0
        mov eax, cr4
        or eax, 0x6a0                   ; PAE PGE OSFXSR OSXMMEXCPT
        mov cr4, eax
        mov eax, PML4
        mov cr3, eax
        mov ecx, 0xc0000080
        rdmsr
        or eax, 0x901                   ; SCE LME NXE
        wrmsr
        mov eax, cr0
        or eax, 0x80010023              ; PG WP NE MP PE
        and eax, ~0xc                   ; not EM, not TS
        mov cr0, eax
        jmp CODE64:.long
        bits 64
.long:
        mov eax, DATA32
        mov ds, eax
        mov es, eax
        mov ss, eax
        lidt [idt_pointer64]
        mov eax, TSS_SEL
        ltr ax
        mov esp, STACK_TOP
        mov eax, [saved_number]
        jmp rax
        bits 32
