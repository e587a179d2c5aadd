; Interrupt shadows, local APIC (self-IPIs, priorities, timer), NMI, 8259s, I/O APIC, 8254, RTC.
%include "common.nasm"

APIC            equ LOCAL_APIC
IOAPIC          equ IO_APIC

        bits 32
main:
        LINE "interrupts"
        LONG go

        bits 64
; Every interrupt's vector is logged, and what TPR-PPR and IF said; vectors 0x20-0x2f end with EOI at the 8259s, others at the APIC.
on_interrupt:
        mov edi, [log_count]
        mov rax, [rbp - 8]              ; vector, pushed by the stub
        mov [log + rdi], al
        inc dword [log_count]
        cmp al, 2
        je .end
        cmp al, 0x40
        jb .pic
        mov dword [abs APIC + 0xb0], 0
        jmp .end
.pic:   cmp al, 0x28
        jb .master
        mov al, 0x20
        out 0xa0, al
.master:
        mov al, 0x20
        out 0x20, al
.end:   ret
; The first of a pair: enables interrupts inside the handler before its EOI.
on_nested:
        mov edi, [log_count]
        mov rax, [rbp - 8]
        mov [log + rdi], al
        inc dword [log_count]
        sti
        mov dword [abs APIC + 0x300], 0x40061   ; lower: must wait
        mov dword [abs APIC + 0x300], 0x400c1   ; higher: at once
        mov ecx, 1000
.wait:  dec ecx
        jnz .wait
        cli
        mov edi, [log_count]
        mov byte [log + rdi], 0xee
        inc dword [log_count]
        mov dword [abs APIC + 0xb0], 0
        ret

%macro LOGGED 1
        PRINT %1, ":"
        call print_log
%endmacro
print_log:
        xor r12d, r12d
.next:  cmp r12d, [log_count]
        jae .end
        PRINT " "
        movzx eax, byte [log + r12]
        NUMBER rax
        inc r12d
        jmp .next
.end:   PRINT 10
        mov dword [log_count], 0
        ret
; Waits (with interrupts enabled) until log_count is EAX; a long time out ends the guest's patience.
wait_log:
        mov ecx, 200000000
.again: cmp [log_count], eax
        jae .done
        pause
        dec ecx
        jnz .again
        PRINT "(timed out)"
.done:  ret

go:
        mov ecx, 256
.hook:  mov dword [hooks + rcx * 4 - 4], on_interrupt
        dec ecx
        cmp ecx, 33
        jae .hook
        mov dword [hooks + 2 * 4], on_interrupt
        mov dword [hooks + 0x20 * 4], on_interrupt
        mov dword [log_count], 0

        ; ------------------------------------------------------------------ local APIC
        mov ecx, 0x1b
        rdmsr
        and eax, 0xfffff900
        SHOW "apic base", rax
        mov eax, [abs APIC + 0xf0]
        and eax, 0xff
        SHOW "svr vector at reset", rax
        mov dword [abs APIC + 0xf0], 0x1ff
        mov dword [abs APIC + 0x80], 0
        mov dword [abs APIC + 0x350], 0x10000   ; LINT0 masked
        mov eax, [abs APIC + 0x20]
        shr eax, 24
        SHOW "apic id", rax
        mov eax, [abs APIC + 0xd0]
        SHOW "ldr", rax
        mov eax, [abs APIC + 0xe0]
        SHOW "dfr", rax

        ; self-IPI while IF is 0 stays in IRR
        mov dword [abs APIC + 0x300], 0x40051
        mov eax, [abs APIC + 0x200 + (0x51 / 32) * 16]
        SHOW "irr", rax
        sti
        nop
        cli
        LOGGED "self-ipi"
        mov eax, [abs APIC + 0x100 + (0x51 / 32) * 16]
        SHOW "isr after eoi", rax
        ; several: highest first
        mov dword [abs APIC + 0x300], 0x40052
        mov dword [abs APIC + 0x300], 0x40095
        mov dword [abs APIC + 0x300], 0x40071
        sti
        nop
        nop
        cli
        LOGGED "priorities"
        ; TPR holds back
        mov dword [abs APIC + 0x80], 0x70
        mov dword [abs APIC + 0x300], 0x40071
        mov dword [abs APIC + 0x300], 0x40081
        sti
        nop
        nop
        cli
        LOGGED "with tpr 0x70"
        mov rax, cr8
        SHOW "cr8", rax
        sti
        xor eax, eax
        mov cr8, rax
        nop
        cli
        LOGGED "after cr8 0"
        mov eax, [abs APIC + 0x80]
        SHOW "tpr", rax
        ; nesting
        mov dword [hooks + 0x85 * 4], on_nested
        mov dword [abs APIC + 0x300], 0x40085
        sti
        nop
        nop
        nop
        cli
        LOGGED "nested"
        ; same vector twice is one
        mov dword [abs APIC + 0x300], 0x40053
        mov dword [abs APIC + 0x300], 0x40053
        sti
        nop
        nop
        cli
        LOGGED "twice pending"
        ; shorthand all including self, and by physical destination
        mov dword [abs APIC + 0x300], 0x80054
        sti
        nop
        nop
        cli
        LOGGED "all including self"
        mov dword [abs APIC + 0x300], 0xc0055
        sti
        nop
        nop
        cli
        LOGGED "all excluding self"
        mov eax, [abs APIC + 0x20]
        mov [abs APIC + 0x310], eax
        mov dword [abs APIC + 0x300], 0x00056
        sti
        nop
        nop
        cli
        LOGGED "physical destination"
        ; logical, flat
        mov dword [abs APIC + 0xd0], 0x04000000
        mov dword [abs APIC + 0x310], 0x06000000
        mov dword [abs APIC + 0x300], 0x00857
        sti
        nop
        nop
        cli
        LOGGED "logical destination"
        mov dword [abs APIC + 0x310], 0x02000000
        mov dword [abs APIC + 0x300], 0x00858
        sti
        nop
        nop
        cli
        LOGGED "logical destination of nobody"

        ; NMI by self-IPI (physical destination: the shorthand self is only for fixed mode)
        mov eax, [abs APIC + 0x20]
        mov [abs APIC + 0x310], eax
        mov dword [abs APIC + 0x300], 0x00400
        nop
        nop
        LOGGED "nmi with IF 0"

        ; shadows
        mov dword [abs APIC + 0x300], 0x40059
        mov edi, 0
        sti
        mov edi, 1                      ; runs before the interrupt
        mov ebx, edi
        cli
        LOGGED "sti"
        mov dword [abs APIC + 0x300], 0x40059
        sti
        cli                             ; no window between these two
        nop
        LOGGED "sti cli"
        sti
        nop
        cli
        LOGGED "then"
        mov dword [abs APIC + 0x300], 0x40059
        sti
        hlt
        cli
        LOGGED "sti hlt"

        ; timer: one shot, then periodic, masked
        mov dword [abs APIC + 0x3e0], 0xb       ; by 1
        mov dword [abs APIC + 0x320], 0x61
        mov dword [abs APIC + 0x380], 10000
        sti
        mov eax, 1
        call wait_log
        cli
        LOGGED "timer one-shot"
        mov eax, [abs APIC + 0x390]
        SHOW "count after", rax
        mov dword [abs APIC + 0x320], 0x20062
        mov dword [abs APIC + 0x380], 1000000
        sti
        mov eax, 3
        call wait_log
        cli
        mov dword [abs APIC + 0x320], 0x10062
        mov dword [abs APIC + 0x380], 0
        sti
        nop
        nop
        cli
        mov dword [log_count], 3
        LOGGED "timer periodic"
        mov dword [abs APIC + 0x320], 0x10063
        mov dword [abs APIC + 0x380], 1000
        mov ecx, 1000000
.spin:  dec ecx
        jnz .spin
        sti
        nop
        nop
        cli
        LOGGED "timer masked"
        mov dword [abs APIC + 0x320], 0x64
        mov dword [abs APIC + 0x380], 20000
        sti
        hlt
        cli
        LOGGED "timer wakes hlt"

        ; ------------------------------------------------------------------ 8259s through LINT0 as ExtINT
        mov dword [abs APIC + 0x350], 0x700
        mov al, 0x11
        out 0x20, al
        out 0xa0, al
        mov al, 0x20
        out 0x21, al
        mov al, 0x28
        out 0xa1, al
        mov al, 4
        out 0x21, al
        mov al, 2
        out 0xa1, al
        mov al, 1
        out 0x21, al
        out 0xa1, al
        mov al, 0xff
        out 0x21, al
        out 0xa1, al
        in al, 0x21
        movzx eax, al
        SHOW "imr", rax
        ; PIT channel 0, mode 0, one interrupt
        mov al, 0xfe
        out 0x21, al
        mov al, 0x30
        out 0x43, al
        mov al, 0x00
        out 0x40, al
        mov al, 0x10
        out 0x40, al
        sti
        mov eax, 1
        call wait_log
        cli
        LOGGED "pit mode 0"
        ; mode 2, three
        mov al, 0x34
        out 0x43, al
        mov al, 0x00
        out 0x40, al
        mov al, 0x20
        out 0x40, al
        sti
        mov eax, 3
        call wait_log
        cli
        mov al, 0xff
        out 0x21, al
        mov dword [log_count], 3
        LOGGED "pit mode 2"
        ; IRR of a masked line: the 8254 is stopped in mode 0 and its output is high
        mov al, 0x30
        out 0x43, al
        mov al, 0
        out 0x40, al
        mov al, 1
        out 0x40, al
        mov ecx, 100000000
        mov al, 0x0a
        out 0x20, al
.irr:   in al, 0x20
        test al, 1
        jnz .seen
        dec ecx
        jnz .irr
.seen:  and eax, 1
        SHOW "irr of irq 0", rax
        ; channel 0 latch and readback of the mode
        mov al, 0xe2
        out 0x43, al
        in al, 0x40
        and eax, 0x3f
        SHOW "readback status", rax

        ; RTC: the update-ended or periodic interrupt on IRQ 8
        mov al, 0x8b
        out 0x70, al
        mov al, 0x42                    ; periodic, 24 h
        out 0x71, al
        mov al, 0x8a
        out 0x70, al
        mov al, 0x26                    ; 1024 Hz
        out 0x71, al
        mov al, 0x8c
        out 0x70, al
        in al, 0x71
        mov al, 0xfb
        out 0x21, al
        mov al, 0xfe
        out 0xa1, al
        sti
        mov eax, 1
        call wait_log
        cli
        mov dword [log_count], 1
        LOGGED "rtc"
        mov al, 0x8c
        out 0x70, al
        in al, 0x71
        and eax, 0xc0
        SHOW "rtc c", rax
        mov al, 0x8b
        out 0x70, al
        mov al, 2
        out 0x71, al
        mov al, 0x8c
        out 0x70, al
        in al, 0x71
        mov al, 0xff
        out 0xa1, al
        out 0x21, al
        sti
        nop
        nop
        cli
        mov dword [log_count], 0
        mov dword [abs APIC + 0x350], 0x10000

        ; ------------------------------------------------------------------ I/O APIC: the PIT is pin 2
        mov dword [abs IOAPIC], 1
        mov eax, [abs IOAPIC + 0x10]
        shr eax, 16
        and eax, 0xff
        SHOW "last redirection entry", rax
        mov dword [abs IOAPIC], 0x14
        mov eax, [abs IOAPIC + 0x10]
        and eax, 0x10000
        SHOW "pin 2 masked", rax
        mov dword [abs IOAPIC], 0x15
        mov dword [abs IOAPIC + 0x10], 0
        mov dword [abs IOAPIC], 0x14
        mov dword [abs IOAPIC + 0x10], 0xa1
        mov al, 0x34
        out 0x43, al
        mov al, 0
        out 0x40, al
        mov al, 0x40
        out 0x40, al
        sti
        mov eax, 2
        call wait_log
        cli
        mov dword [abs IOAPIC], 0x14
        mov dword [abs IOAPIC + 0x10], 0x100a1
        sti
        nop
        nop
        cli
        mov dword [log_count], 2
        LOGGED "pit by the io apic"
        ; RTC by pin 8
        mov dword [abs IOAPIC], 0x21
        mov dword [abs IOAPIC + 0x10], 0
        mov dword [abs IOAPIC], 0x20
        mov dword [abs IOAPIC + 0x10], 0xa8
        mov al, 0x8b
        out 0x70, al
        mov al, 0x42
        out 0x71, al
        mov al, 0x8c
        out 0x70, al
        in al, 0x71
        sti
        mov eax, 1
        call wait_log
        cli
        mov dword [log_count], 1
        LOGGED "rtc by the io apic"
        LINE "end"
        EXIT
        align 8
log_count:      dq 0
log             equ SCRATCH + 0x1000
