; A periodic timer of half a millisecond beside instructions that take long: how many of its interrupts come while a loop of them runs for
; 40 milliseconds, and the longest time between two.
;
;   nasm -i tests/system/guests/ -f bin -o slices.bin tests/guest/asm/slices.asm
;   bhyve -m 256M ... -f multiboot,slices.bin vm
;
; A line for each: "NAME: ticks N, longest M microseconds", hexadecimal. The last line is "end".
%include "common.nasm"

TIMER           equ 0x40
DEVICE          equ 0xd0000000          ; nobody answers there: a call of the devices' thread
PORT            equ 0xe0                ; nor there
WORK            equ 80000000            ; cycles of some 2 GHz
SOURCE            equ 0x2000000
TARGET              equ 0x6000000

        bits 32
main:   LONG start

        bits 64
; WORKING "name", label: runs the loop at the label until its time is over.
%macro WORKING 2
        PRINT %1, ": "
        mov ebx, %2
        call work
        SHOW_TICKS
%endmacro
%macro SHOW_TICKS 0
        PRINT "ticks "
        NUMBER [ticks]
        mov rax, [longest]
        xor edx, edx
        mov ecx, 2000
        div rcx
        PRINT ", longest "
        NUMBER rax
        LINE " microseconds"
%endmacro
; LOOP_OF label, rounds, instructions: the loop, and its RET.
%macro LOOP_OF 3+
%1:     mov r8d, %2
%%next: %3
        dec r8d
        jnz %%next
        ret
%endmacro
now:    rdtsc
        shl rdx, 32
        or rax, rdx
        ret

work:   mov qword [ticks], 0
        mov qword [longest], 0
        call now
        mov [last], rax
        lea r15, [rax + WORK]
        sti
.next:  call rbx
        call now
        cmp rax, r15
        jb .next
        cli
        sub rax, [last]                 ; the time that is not over counts too
        cmp rax, [longest]
        jbe .end
        mov [longest], rax
.end:   ret

on_timer:
        inc qword [ticks]
        call now
        mov rcx, rax
        sub rcx, [last]
        mov [last], rax
        cmp rcx, [longest]
        jbe .end
        mov [longest], rcx
.end:   mov dword [abs LOCAL_APIC + 0xb0], 0
on_nothing:
        ret
on_undefined:
        add qword [rbp + 8], 2          ; goes on after UD2
        ret

start:
        mov dword [hooks + TIMER * 4], on_timer
        mov dword [hooks + 0x50 * 4], on_nothing
        mov dword [hooks + 6 * 4], on_undefined
        mov dword [abs LOCAL_APIC + 0xf0], 0x1ff
        mov dword [abs LOCAL_APIC + 0x3e0], 11          ; divide by 1
        mov dword [abs LOCAL_APIC + 0x320], 0x20000 | TIMER
        mov dword [abs LOCAL_APIC + 0x380], 67109
        fninit
        fldpi
        WORKING "loop", plain
        WORKING "pause", pauses
        WORKING "rep stosb 1 MiB", stos_bytes
        WORKING "rep stosq 64 MiB", stos_large
        WORKING "rep movsb 1 MiB", movs_bytes
        WORKING "rep movsq 4 MiB", movs_large
        WORKING "rep movsb 1 MiB, downwards", movs_down
        WORKING "rep movsb 1 MiB, overlapping", movs_over
        WORKING "rep lodsb 4 MiB", lods_bytes
        WORKING "repe cmpsb 4 MiB", cmps_bytes
        WORKING "repne scasd 16 MiB", scas_dwords
        WORKING "in", input
        WORKING "out", output
        WORKING "in, 8254", input_8254
        WORKING "rep insd", string_input
        WORKING "rep outsd", string_output
        WORKING "read of a device", device_read
        WORKING "write of a device", device_write
        WORKING "read of the local APIC", apic_read
        WORKING "rep movsd from a device", device_movs
        WORKING "rep stosd to a device", device_stos
        WORKING "lock inc of a device", device_lock
        WORKING "cpuid", identify
        WORKING "fsin", sine
        WORKING "fyl2x", logarithm
        WORKING "fprem", remainder
        WORKING "fxsave, fxrstor", image
        WORKING "div of 128 bits", division
        WORKING "invlpg", invalidate
        WORKING "mov cr3", reload
        WORKING "mov cr4", change_cr4
        WORKING "wrmsr", write_msr
        WORKING "iretq", return_here
        WORKING "int", interrupt
        WORKING "#UD", undefined
        WORKING "far return", far_return
        WORKING "code that changes itself", changing
        WORKING "lock inc beside code", beside_code
        WORKING "loads of 4,096 pages", many_pages
        LINE "end"
        EXIT

LOOP_OF plain, 1000, nop
LOOP_OF pauses, 1000, pause
LOOP_OF input, 5000, in al, PORT
LOOP_OF output, 5000, out PORT, al
LOOP_OF input_8254, 5000, in al, 0x40
LOOP_OF apic_read, 5000, mov eax, [abs LOCAL_APIC + 0x20]
LOOP_OF sine, 5000, fsin
LOOP_OF invalidate, 5000, invlpg [abs SOURCE]
LOOP_OF interrupt, 5000, int 0x50
LOOP_OF undefined, 5000, ud2
LOOP_OF beside_code, 5000, lock inc dword [rel beside]
beside: dd 0
device_read:
        mov esi, DEVICE
        mov r8d, 5000
.next:  mov eax, [rsi]
        dec r8d
        jnz .next
        ret
device_write:
        mov esi, DEVICE
        mov r8d, 5000
.next:  mov [rsi], eax
        dec r8d
        jnz .next
        ret
device_lock:
        mov esi, DEVICE
        mov r8d, 5000
.next:  lock inc dword [rsi]
        dec r8d
        jnz .next
        ret
stos_bytes:
        mov edi, TARGET
        xor eax, eax
        mov ecx, 0x100000
        rep stosb
        ret
stos_large:
        mov edi, SOURCE
        xor eax, eax
        mov ecx, 0x800000
        rep stosq
        ret
movs_bytes:
        mov esi, SOURCE
        mov edi, TARGET
        mov ecx, 0x100000
        rep movsb
        ret
movs_large:
        mov esi, SOURCE
        mov edi, TARGET
        mov ecx, 0x80000
        rep movsq
        ret
movs_down:
        mov esi, SOURCE + 0x100000
        mov edi, TARGET + 0x100000
        mov ecx, 0x100000
        std
        rep movsb
        cld
        ret
movs_over:
        mov esi, SOURCE
        mov edi, SOURCE + 1
        mov ecx, 0x100000
        rep movsb
        ret
lods_bytes:
        mov esi, SOURCE
        mov ecx, 0x400000
        rep lodsb
        ret
cmps_bytes:
        mov esi, SOURCE
        mov edi, SOURCE
        mov ecx, 0x400000
        repe cmpsb
        ret
scas_dwords:
        mov edi, SOURCE
        mov eax, 0x12345678
        mov ecx, 0x400000
        repne scasd
        ret
string_input:
        mov edx, PORT
        mov edi, TARGET
        mov ecx, 5000
        rep insd
        ret
string_output:
        mov edx, PORT
        mov esi, SOURCE
        mov ecx, 5000
        rep outsd
        ret
device_movs:
        mov esi, DEVICE
        mov edi, TARGET
        mov ecx, 5000
        rep movsd
        ret
device_stos:
        mov edi, DEVICE
        mov ecx, 5000
        rep stosd
        ret
identify:
        mov r8d, 5000
        push rbx
.next:  xor eax, eax
        cpuid
        dec r8d
        jnz .next
        pop rbx
        ret
logarithm:
        mov r8d, 5000
.next:  fldpi
        fldl2e
        fyl2x
        fstp st0
        dec r8d
        jnz .next
        ret
remainder:
        mov r8d, 5000
.next:  fldpi
        fld tword [rel huge]
        fprem
        fstp st0
        fstp st0
        dec r8d
        jnz .next
        ret
image:
        mov r8d, 5000
.next:  fxsave [abs SCRATCH]
        fxrstor [abs SCRATCH]
        dec r8d
        jnz .next
        ret
division:
        mov r8d, 5000
        mov r9, 0x123456789abcdef1
.next:  mov edx, 0x1234567
        mov eax, 0x89abcdef
        div r9
        dec r8d
        jnz .next
        ret
reload:
        mov r8d, 5000
.next:  mov rax, cr3
        mov cr3, rax
        dec r8d
        jnz .next
        ret
change_cr4:
        mov r8d, 5000
        mov rcx, cr4
.next:  xor rcx, 0x80                   ; PGE
        mov cr4, rcx
        dec r8d
        jnz .next
        ret
write_msr:
        mov r8d, 5000
        mov ecx, 0xc0000102
        xor eax, eax
        xor edx, edx
.next:  wrmsr
        dec r8d
        jnz .next
        ret
return_here:
        mov r8d, 5000
.next:  mov rcx, rsp
        push DATA32
        push rcx
        pushfq
        push CODE64
        push .here
        iretq
.here:  dec r8d
        jnz .next
        ret
far_return:
        mov r8d, 5000
.next:  push CODE64
        push .here
        retfq
.here:  dec r8d
        jnz .next
        ret
changing:
        mov r8d, 5000
.next:  inc dword [rel .number]
        db 0xb8                         ; mov eax, imm32
.number: dd 0
        dec r8d
        jnz .next
        ret
many_pages:
        mov r8d, 4096
        mov esi, SOURCE
.next:  mov eax, [rsi]
        add rsi, 4096
        dec r8d
        jnz .next
        ret

        align 8
ticks:          dq 0
longest:        dq 0
last:           dq 0
huge:           dt 1.0e4000
