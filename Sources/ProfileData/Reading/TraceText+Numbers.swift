// SPDX-License-Identifier: MIT

import Platform

/// Numbers: bare, or in quotes as some exporters write them.
extension TraceText {
    /// Reads a number and returns it times 10 to the power of `places`, rounded towards zero; nil for a value that is
    /// no finite number or does not fit.
    ///
    /// Microseconds since 1970 with three decimal places do not fit the 53 bits of a Double, so digits are summed up.
    @inline(__always)
    mutating func number(places: Int = 0) throws(TraceStop) -> Int64? {
        if next == UInt8(ascii: "\"") {
            let range = try plainText()
            return Self.value(of: window, range, places: places)
        }
        if next == UInt8(ascii: "{") || next == UInt8(ascii: "[") {
            try skip()
            return nil
        }
        // Nearly every number: an optional minus and up to eighteen digits.
        let start = position
        var place = start + (next == UInt8(ascii: "-") ? 1 : 0)
        let firstDigit = place
        var value: Int64 = 0
        while case let digit = window[place] &- UInt8(ascii: "0"), digit < 10, place - firstDigit < 15 {
            value = value &* 10 &+ Int64(digit)
            place += 1
        }
        let follower = window[place]
        if place > firstDigit,
            follower == UInt8(ascii: ",") || follower == UInt8(ascii: "}") || follower == 0x0A
                || follower == UInt8(ascii: "]")
        {
            position = place
            for _ in 0..<places { value &*= 10 }
            if places <= 3 { return firstDigit > start ? -value : value }
        }
        position = start
        let range = try bareWord()
        return Self.value(of: window, range, places: places)
    }

    /// The number that `bytes[range]` spells, times 10 to the power of `places`.
    static func value(of bytes: [UInt8], _ range: Range<Int>, places: Int) -> Int64? {
        var place = range.lowerBound
        let isNegative = place < range.upperBound && bytes[place] == UInt8(ascii: "-")
        if isNegative { place += 1 }
        var value: Int64 = 0
        var digits = 0
        /// Decimal places still to be read; nil before the point.
        var left: Int?
        while place < range.upperBound {
            let byte = bytes[place]
            place += 1
            if byte == UInt8(ascii: "."), left == nil {
                left = places
                continue
            }
            guard case let digit = byte &- UInt8(ascii: "0"), digit < 10 else {
                return general(bytes, range, places: places)
            }
            digits += 1
            if let rest = left {
                guard rest > 0 else { continue }
                left = rest - 1
            }
            guard append(digit, to: &value) else { return nil }
        }
        guard digits > 0 else { return nil }
        for _ in 0..<(left ?? places) { guard append(0, to: &value) else { return nil } }
        return isNegative ? -value : value
    }

    private static func append(_ digit: UInt8, to value: inout Int64) -> Bool {
        let (product, high) = value.multipliedReportingOverflow(by: 10)
        let (sum, carry) = product.addingReportingOverflow(Int64(digit))
        value = sum
        return !high && !carry
    }

    /// Exponents and everything else that Double reads.
    private static func general(_ bytes: [UInt8], _ range: Range<Int>, places: Int) -> Int64? {
        guard var value = Double(String(decoding: bytes[range], as: UTF8.self)), value.isFinite else { return nil }
        for _ in 0..<places { value *= 10 }
        return Int64(exactly: value.rounded(.towardZero))
    }
}
