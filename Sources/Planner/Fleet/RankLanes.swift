// SPDX-License-Identifier: MIT

/// A number for each GPU of a unit, sixteen to a vector, so that the least of hundreds is found in some dozens of
/// instructions.
struct RankLanes: Sendable {
    var lanes: [SIMD16<Int32>]
    let count: Int

    /// All are `value`; lanes beyond the last GPU hold `padding`.
    init(count: Int, repeating value: Int32, padding: Int32) {
        self.count = count
        lanes = Array(repeating: SIMD16(repeating: value), count: (count + 15) / 16)
        for rank in count..<lanes.count * 16 { lanes[rank >> 4][rank & 15] = padding }
    }

    subscript(rank: Int) -> Int32 {
        // SAFETY: the lanes of the vectors lie one behind the other, four bytes each, and `rank` is one of them; a
        // vector's own subscript would go through a copy of the whole vector.
        get { lanes.withUnsafeBytes { $0.load(fromByteOffset: rank << 2, as: Int32.self) } }
        set { lanes.withUnsafeMutableBytes { $0.storeBytes(of: newValue, toByteOffset: rank << 2, as: Int32.self) } }
    }

    /// The first GPU with the least.
    var least: Int {
        var low = lanes[0]
        for index in 1..<max(lanes.count, 1) { low = low.lesser(lanes[index]) }
        let wanted = low.least
        var found = Int32.max
        for index in lanes.indices.reversed() {
            let lane = lanes[index].first(atMost: wanted)
            found = lane < 16 ? Int32(truncatingIfNeeded: index) << 4 | lane : found
        }
        return Int(found)
    }

    /// Sets the numbers of all GPUs to 0.
    mutating func clear(padding: Int32) {
        for index in lanes.indices { lanes[index] = SIMD16(repeating: 0) }
        for rank in count..<lanes.count * 16 { lanes[rank >> 4][rank & 15] = padding }
    }
}

// Spelled by selections of what is less: the library's own minimum and equality go lane by lane.
extension SIMD16<Int32> {
    @inline(__always)
    func lesser(_ other: Self) -> Self { replacing(with: other, where: other .< self) }

    @inline(__always)
    func greater(_ other: Self) -> Self { replacing(with: other, where: other .> self) }

    /// The first lane that holds no more than a number; 16 where none does.
    @inline(__always)
    func first(atMost limit: Int32) -> Int32 {
        let four = SIMD4<Int32>(0, 1, 2, 3)
        let eight = SIMD8(lowHalf: four, highHalf: four &+ 4)
        let indices = SIMD16(lowHalf: eight, highHalf: eight &+ 8)
        return SIMD16(repeating: 16).replacing(with: indices, where: self .< SIMD16(repeating: limit &+ 1)).least
    }

    /// The least lane.
    @inline(__always)
    var least: Int32 {
        let eight = lowHalf.replacing(with: highHalf, where: highHalf .< lowHalf)
        let (a, b) = (eight.lowHalf, eight.highHalf)
        let four = a.replacing(with: b, where: b .< a)
        return Swift.min(Swift.min(four[0], four[1]), Swift.min(four[2], four[3]))
    }

    /// The largest lane.
    @inline(__always)
    var largest: Int32 {
        let eight = lowHalf.replacing(with: highHalf, where: highHalf .> lowHalf)
        let (a, b) = (eight.lowHalf, eight.highHalf)
        let four = a.replacing(with: b, where: b .> a)
        return Swift.max(Swift.max(four[0], four[1]), Swift.max(four[2], four[3]))
    }
}
