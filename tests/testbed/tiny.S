# A kernel for GRUB's command `linux`, by the Linux/x86 boot protocol (Documentation/arch/x86/boot.rst): it tells its command
# line on the first serial port, whether it got an initramfs, and resets the machine.
        .code32
        .equ LOADED, 0x100000           # where the part after the setup lies when it runs
        .equ SETUP_SECTORS, 1
        .equ COMMAND_LINE, 0x228        # fields of the header, in the copy that the loader hands over
        .equ RAMDISK_SIZE, 0x21c
        .equ PORT, 0x3f8
        .equ LINE_STATUS, PORT + 5
        .equ MAY_SEND, 0x20
        .equ RESET_CONTROL, 0xcf9

        .org 0x1f1
        .byte SETUP_SECTORS
        .org 0x1f4
        .long (end - protected + 15) / 16
        .org 0x1fe
        .word 0xaa55
        .org 0x200
        .byte 0xeb, 0x6a                # the header ends at 0x26c
        .ascii "HdrS"
        .word 0x020c                    # version of the protocol
        .org 0x211
        .byte 1                         # to be loaded high
        .org 0x214
        .long LOADED
        .org 0x22c
        .long 0x37ffffff                # the last address for an initramfs
        .long 0x1000                    # alignment
        .byte 0                         # not to be moved
        .org 0x238
        .long 2047                      # the longest command line
        .org 0x258
        .quad LOADED
        .long 0x10000                   # memory that it needs
        .org 512 * (SETUP_SECTORS + 1)

protected:
        movl $LOADED + 0x8000, %esp
        movl %esi, %ebx
        movl $begin - protected + LOADED, %esi
        call say
        movl COMMAND_LINE(%ebx), %esi
        call say
        cmpl $0, RAMDISK_SIZE(%ebx)
        jne 1f
        movl $without - protected + LOADED, %esi
        call say
1:      movl $over - protected + LOADED, %esi
        call say
        movw $RESET_CONTROL, %dx
        movb $6, %al
        outb %al, %dx
2:      hlt
        jmp 2b

# Sends the text at %esi.
say:    movb (%esi), %cl
        testb %cl, %cl
        jz 4f
        movw $LINE_STATUS, %dx
3:      inb %dx, %al
        testb $MAY_SEND, %al
        jz 3b
        movw $PORT, %dx
        movb %cl, %al
        outb %al, %dx
        incl %esi
        jmp say
4:      ret

begin:  .asciz "tiny: begin "
without:.asciz " (no initramfs)"
over:   .asciz " tiny: end\r\n"
        .balign 512
end:
