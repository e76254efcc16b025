// SPDX-License-Identifier: MIT

import LowPrecision
import Testing

@Suite("FP4 E2M1")
struct Float4Tests {
    /// The value of a code by its fields: (1 + m/2)·2^(e−1), or m/2 where the exponent field is zero.
    private func value(_ code: UInt8) -> Double {
        let exponent = Int(code >> 1 & 3)
        let mantissa = Double(code & 1) / 2
        let magnitude =
            exponent == 0
            ? mantissa : (1 + mantissa) * Double(sign: .plus, exponent: exponent - 1, significand: 1)
        return code & 8 == 0 ? magnitude : -magnitude
    }

    @Test("Every code decodes to the value of its fields, and comes back, negative zero as zero")
    func codes() {
        for code in UInt8(0)..<16 {
            let decoded = Float(Float4E2M1(bitPattern: code))
            #expect(Double(decoded) == value(code))
            #expect((decoded.sign == .minus) == (code >= 8))
            #expect(abs(decoded) == Float4E2M1.magnitudes[Int(code & 7)])
            #expect(Float4E2M1(decoded).bitPattern == (code == 8 ? 0 : code))
            #expect(Float4E2M1(bitPattern: code | 0xF0) == Float4E2M1(bitPattern: code))
        }
    }

    @Test("A magnitude moves up strictly above the middle only")
    func ties() {
        for lower in UInt8(0)..<7 {
            let middle = Float((value(lower) + value(lower + 1)) / 2)
            #expect(Float4E2M1(middle).bitPattern == lower)
            #expect(Float4E2M1(middle.nextUp).bitPattern == lower + 1)
            #expect(Float4E2M1(middle.nextDown).bitPattern == lower)
            #expect(Float4E2M1(-middle).bitPattern == (lower == 0 ? 0 : lower | 8))
            #expect(Float4E2M1(-middle.nextUp).bitPattern == lower + 1 | 8)
        }
    }

    @Test("Every exponent, with mantissas around every border, gets the nearest level, ties down")
    func sweep() {
        for upper in UInt32(0)..<65536 {
            for low: UInt32 in [0, 1, 0x7FFF, 0x8000, 0xFFFF] {
                let x = Float(bitPattern: upper << 16 | low)
                let found = Float4E2M1(x)
                if x.isNaN {
                    #expect(found.bitPattern == 0)
                    continue
                }
                let magnitude = min(Double(abs(x)), 6)
                // The first level among the nearest ones is the lower of a tie.
                var best = UInt8(0)
                for code in UInt8(1)..<8 where abs(value(code) - magnitude) < abs(value(best) - magnitude) {
                    best = code
                }
                let expected = best != 0 && x < 0 ? best | 8 : best
                if found.bitPattern != expected { Issue.record("\(x): \(found.bitPattern), not \(expected)") }
            }
        }
    }

    @Test("Two codes share a byte, the even index below")
    func packing() {
        for byte in UInt8.min...UInt8.max {
            let (even, odd) = Float4E2M1.unpack(byte)
            #expect(even.bitPattern == byte & 15 && odd.bitPattern == byte >> 4)
            #expect(Float4E2M1.pack(even: even, odd: odd) == byte)
        }
    }
}

@Suite("UE8M0 packing")
struct UE8M0PackingTests {
    @Test("Clamped rounding up agrees with arithmetic on every exponent and both signs")
    func clamping() {
        for upper in UInt32(0)..<65536 {
            for low: UInt32 in [0, 1, 0xFFFF] {
                let x = Float(bitPattern: upper << 16 | low)
                let code = UE8M0(clampingUp: x)
                if x.isNaN {
                    #expect(code.isNaN)
                    continue
                }
                let magnitude = Double(abs(x))
                let scale = Double(Float(code))
                let isRight =
                    magnitude <= 0x1p-126
                    ? code.bitPattern == 1
                    : magnitude >= 0x1p127
                        ? code.bitPattern == 254 : scale >= magnitude && scale / 2 < magnitude
                if !isRight { Issue.record("\(x) became 2^\(Int(code.bitPattern) - 127)") }
            }
        }
    }

    @Test("Exactly the powers of two have a code")
    func exact() {
        for code in UInt8(0)...254 {
            let value = Float(UE8M0(bitPattern: code))
            #expect(UE8M0(exactly: value)?.bitPattern == code)
            #expect(UE8M0(exactly: -value) == nil)
            #expect(UE8M0(exactly: value.nextUp) == nil && UE8M0(exactly: value.nextDown) == nil)
        }
        for value: Float in [0, -0, 3, 0.1, .infinity, -.infinity, .nan, 0x1p-128, .leastNonzeroMagnitude] {
            #expect(UE8M0(exactly: value) == nil)
        }
    }

    @Test("Four scales share a word, the first in the lowest byte")
    func words() {
        for byte in UInt8.min...UInt8.max {
            let codes = (0..<4).map { UE8M0(bitPattern: byte &* UInt8(2 * $0 + 1) &+ UInt8($0)) }
            let word = UE8M0.pack(codes[0], codes[1], codes[2], codes[3])
            #expect(UInt8(truncatingIfNeeded: word) == codes[0].bitPattern)
            #expect(UInt8(truncatingIfNeeded: word >> 24) == codes[3].bitPattern)
            for index in 0..<4 { #expect(UE8M0(word: word, index: index) == codes[index]) }
        }
    }
}
