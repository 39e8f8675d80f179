//! The instructions by which a program reads and writes the registers of a device: what a kernel has to know to do it in
//! the program's place (RISC-V unprivileged specification, "Load and Store Instructions" and "Load and Store Instructions"
//! of the C extension).

/// A load or a store of at most four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterAccess {
    /// The register of the hart that is loaded or stored, x0 to x31.
    pub register: usize,
    /// Bytes that are moved.
    pub bytes: usize,
    pub is_store: bool,
    /// Whether a value that is loaded is extended by its sign.
    is_signed: bool,
    /// Bytes of the instruction.
    pub length: u64,
}

/// Opcodes of the 32-bit encoding.
const LOAD: u32 = 0x03;
const STORE: u32 = 0x23;

impl RegisterAccess {
    /// Whether an instruction has 32 bits, by its first half.
    pub const fn is_long(half: u16) -> bool {
        half & 3 == 3
    }

    /// Reads an instruction. Of one with 16 bits, the upper half does not matter. `None` if it is no such access.
    pub fn decode(instruction: u32) -> Option<Self> {
        if !Self::is_long(instruction as u16) {
            return Self::decode_short(instruction as u16);
        }
        let (opcode, width) = (instruction & 0x7F, instruction >> 12 & 7);
        let is_store = match opcode {
            LOAD => false,
            STORE if width < 4 => true,
            _ => return None,
        };
        let bytes = match width & 3 {
            0 => 1,
            1 => 2,
            2 => 4,
            // 64 bits wide: no register is.
            _ => return None,
        };
        let register = instruction >> if is_store { 20 } else { 7 } & 0x1F;
        Some(Self {
            register: register as usize,
            bytes,
            is_store,
            is_signed: width < 4,
            length: 4,
        })
    }

    /// C.LW and C.SW.
    fn decode_short(instruction: u16) -> Option<Self> {
        let is_store = match (instruction & 3, instruction >> 13) {
            (0, 0b010) => false,
            (0, 0b110) => true,
            _ => return None,
        };
        Some(Self {
            register: 8 + usize::from(instruction >> 2 & 7),
            bytes: 4,
            is_store,
            is_signed: true,
            length: 2,
        })
    }

    /// The value of the register after a load of these bits.
    pub const fn extended(&self, bits: u32) -> u64 {
        let unused = 32 - 8 * self.bytes as u32;
        if self.is_signed {
            ((bits << unused) as i32 >> unused) as i64 as u64
        } else {
            (bits << unused >> unused) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Register, bytes, store, length.
    fn decoded(instruction: u32) -> Option<(usize, usize, bool, u64)> {
        let access = RegisterAccess::decode(instruction)?;
        Some((access.register, access.bytes, access.is_store, access.length))
    }

    #[test]
    fn loads_and_stores_are_read_as_assembled() {
        // By GNU as, for rv64gc.
        assert_eq!(decoded(0x0345_a783), Some((15, 4, false, 4)), "lw a5, 52(a1)");
        assert_eq!(decoded(0x1005_c703), Some((14, 1, false, 4)), "lbu a4, 256(a1)");
        assert_eq!(decoded(0x1045_d703), Some((14, 2, false, 4)), "lhu a4, 260(a1)");
        assert_eq!(decoded(0x0605_e703), Some((14, 4, false, 4)), "lwu a4, 96(a1)");
        assert_eq!(decoded(0x04f5_a823), Some((15, 4, true, 4)), "sw a5, 80(a1)");
        assert_eq!(decoded(0x10e5_8023), Some((14, 1, true, 4)), "sb a4, 256(a1)");
        assert_eq!(decoded(0x0005_a823), Some((0, 4, true, 4)), "sw zero, 16(a1)");
        assert_eq!(decoded(0x1234_49dc), Some((15, 4, false, 2)), "c.lw a5, 20(a1)");
        assert_eq!(decoded(0x1234_c9dc), Some((15, 4, true, 2)), "c.sw a5, 20(a1)");
    }

    #[test]
    fn other_instructions_are_none() {
        for (instruction, text) in [
            (0x0000_0073, "ecall"),
            (0x0005_b783, "ld a5, 0(a1)"),
            (0x00f5_b023, "sd a5, 0(a1)"),
            (0x00f5_a02f, "amoadd.w zero, a5, (a1)"),
            (0x0005_a787, "flw fa5, 0(a1)"),
            (0x0000_619c, "c.ld a5, 0(a1)"),
            (0x0000_4782, "c.lwsp a5, 0(sp)"),
            (0x0000_0001, "c.nop"),
        ] {
            assert_eq!(decoded(instruction), None, "{text}");
        }
    }

    #[test]
    fn what_is_loaded_is_extended_as_the_instruction_says() {
        let loads = |instruction: u32, bits| RegisterAccess::decode(instruction).map(|access| access.extended(bits));
        assert_eq!(loads(0x0345_a783, 0x8000_0000), Some(0xFFFF_FFFF_8000_0000), "lw");
        assert_eq!(loads(0x0605_e703, 0x8000_0000), Some(0x8000_0000), "lwu");
        assert_eq!(loads(0x1005_c703, 0xFFFF_FF80), Some(0x80), "lbu");
        assert_eq!(loads(0x1005_8703, 0x80), Some(0xFFFF_FFFF_FFFF_FF80), "lb");
        assert_eq!(loads(0x1045_d703, 0xFFFF_8000), Some(0x8000), "lhu");
    }
}
