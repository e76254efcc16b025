// SPDX-License-Identifier: MIT

public import Platform

extension TensorMap {
    /// How a tensor lies on the device and which box of it one copy moves. Extents and strides are innermost first, the
    /// other way round than shapes are written elsewhere.
    public struct Layout: Sendable, Equatable {
        public var element: Element
        /// Elements along each dimension, innermost first; 1 to 5 of them.
        public var dimensions: [Int]
        /// Bytes from one index to the next, of every dimension but the innermost.
        public var byteStrides: [Int]
        /// Elements that one copy moves along each dimension.
        public var box: [Int]
        /// Steps between moved elements along each dimension; all 1 as a rule.
        public var elementSteps: [Int]
        public var interleave: Interleave
        public var swizzle: Swizzle
        public var l2Promotion: L2Promotion
        /// What stands in for elements outside of the tensor.
        public var outOfBounds: OutOfBounds

        /// - Parameters:
        ///   - byteStrides: those of a dense tensor where left out.
        ///   - elementSteps: all 1 where left out.
        public init(
            element: Element, dimensions: [Int], byteStrides: [Int]? = nil, box: [Int], elementSteps: [Int]? = nil,
            interleave: Interleave = .none, swizzle: Swizzle = .none, l2Promotion: L2Promotion = .bytes256,
            outOfBounds: OutOfBounds = .zeros
        ) {
            self.element = element
            self.dimensions = dimensions
            self.byteStrides = byteStrides ?? Self.denseStrides(element: element, dimensions: dimensions)
            self.box = box
            self.elementSteps = elementSteps ?? dimensions.map { _ in 1 }
            self.interleave = interleave
            self.swizzle = swizzle
            self.l2Promotion = l2Promotion
            self.outOfBounds = outOfBounds
        }

        private static func denseStrides(element: Element, dimensions: [Int]) -> [Int] {
            var strides: [Int] = []
            var stride = element.byteCount
            for extent in dimensions.dropLast() {
                stride *= extent
                strides.append(stride)
            }
            return strides
        }
    }

    /// Types of elements (`CUtensorMapDataType` in cuda.h). FP8 travels as `uint8`.
    public enum Element: Int32, Sendable {
        case uint8 = 0
        case uint16 = 1
        case uint32 = 2
        case int32 = 3
        case uint64 = 4
        case int64 = 5
        case float16 = 6
        case float32 = 7
        case float64 = 8
        case bfloat16 = 9

        /// Bytes of one element.
        public var byteCount: Int {
            switch self {
            case .uint8: 1
            case .uint16, .float16, .bfloat16: 2
            case .uint32, .int32, .float32: 4
            case .uint64, .int64, .float64: 8
            }
        }

        var isFloat: Bool { [.float16, .float32, .float64, .bfloat16].contains(self) }
    }

    /// Layouts with channels in groups (`CUtensorMapInterleave`).
    public enum Interleave: Int32, Sendable {
        case none = 0
        case bytes16 = 1
        case bytes32 = 2
    }

    /// How 16-byte chunks change places in shared memory, so that columns meet different banks
    /// (`CUtensorMapSwizzle`).
    public enum Swizzle: Int32, Sendable {
        case none = 0
        case bytes32 = 1
        case bytes64 = 2
        case bytes128 = 3

        /// The width of the pattern in bytes; nil for none.
        public var span: Int? { self == .none ? nil : 16 << Int(rawValue) }
    }

    /// How much the second-level cache fetches at once (`CUtensorMapL2promotion`).
    public enum L2Promotion: Int32, Sendable {
        case none = 0
        case bytes64 = 1
        case bytes128 = 2
        case bytes256 = 3
    }

    /// What copies put where the tensor has no element (`CUtensorMapFloatOOBfill`).
    public enum OutOfBounds: Int32, Sendable {
        case zeros = 0
        /// A not-a-number that fused multiply-add instructions take for zero; for floats only.
        case notANumber = 1
    }
}

extension TensorMap.Layout {
    /// Checks the rules of `cuTensorMapEncodeTiled` in cuda.h, which the driver answers with a bare `invalid value`.
    ///
    /// - Throws: `configuration`, naming the rule and what was found.
    public func check(address: UInt64) throws(FathomError) {
        func require(_ holds: Bool, _ rule: @autoclosure () -> String) throws(FathomError) {
            if !holds { throw FathomError(.configuration, "tensor map: \(rule()), in \(self)") }
        }
        let rank = dimensions.count
        let granule = interleave == .bytes32 ? 32 : 16
        try require((1...5).contains(rank), "rank \(rank); 1 to 5 are legal")
        try require(
            interleave == .none || rank >= 3, "an interleaved tensor has at least 3 dimensions, this has \(rank)")
        try require(
            byteStrides.count == rank - 1 && box.count == rank && elementSteps.count == rank,
            "\(byteStrides.count) strides, \(box.count) box extents and \(elementSteps.count) steps; rank \(rank) "
                + "needs \(rank - 1), \(rank) and \(rank)")
        try require(
            address != 0 && address.isMultiple(of: UInt64(granule)),
            "the address \(address) is not a multiple of \(granule)")
        try require(
            dimensions.allSatisfy { (1...(1 << 32)).contains($0) }, "dimensions \(dimensions); each is 1 to 2^32")
        for stride in byteStrides {
            try require(
                stride > 0 && stride.isMultiple(of: granule) && stride < 1 << 40,
                "a stride of \(stride) bytes; multiples of \(granule) below 2^40 are legal")
        }
        try require(box.allSatisfy { (1...256).contains($0) }, "box \(box); each extent is 1 to 256")
        try require(elementSteps.allSatisfy { (1...8).contains($0) }, "steps \(elementSteps); each is 1 to 8")
        try require(
            outOfBounds == .zeros || element.isFloat, "elements outside can be not-a-number for floats only")
        try require(
            interleave != .bytes32 || swizzle == .bytes32, "the interleave of 32 bytes needs the swizzle of 32 bytes")
        guard interleave == .none else { return }
        let boxBytes = box[0] * element.byteCount
        try require(boxBytes.isMultiple(of: 16), "the box is \(boxBytes) bytes wide; multiples of 16 are legal")
        if let span = swizzle.span {
            try require(
                boxBytes <= span, "the box is \(boxBytes) bytes wide; at most \(span) are legal with this swizzle")
        }
    }
}

extension TensorMap.Layout: CustomStringConvertible {
    public var description: String {
        "\(element) \(dimensions), strides \(byteStrides) bytes, box \(box), steps \(elementSteps), "
            + "interleave \(interleave), swizzle \(swizzle), L2 \(l2Promotion), outside \(outOfBounds)"
    }
}
