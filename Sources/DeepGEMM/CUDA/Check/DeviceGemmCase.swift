// SPDX-License-Identifier: MIT

/// One product that is computed on a GPU and compared with the CPU's.
public struct DeviceGemmCase: Sendable, Hashable {
    public var name: String
    public var shape: CUDAGemmShape
    /// Valid rows of each group; empty without groups.
    public var counts: [Int]
    /// Rows of each group's matrix in a masked product.
    public var room: Int
    /// Most multiprocessors; nil for all.
    public var multiprocessorLimit: Int?

    init(_ name: String, _ shape: CUDAGemmShape, counts: [Int] = [], room: Int = 0, limit: Int? = nil) {
        self.name = name
        self.shape = shape
        self.counts = counts
        self.room = room
        multiprocessorLimit = limit
    }

    /// Distance from the product of the unquantised numbers that is allowed: the original's own limits.
    public var limit: Double { shape.element == .float8E4M3 ? 1e-3 : 1e-5 }
    /// Distance from the CPU's product of the same quantised numbers.
    public var exactLimit: Double { 1e-5 }

    /// All cases, small ones first: every path of the kernel, edges in all three extents, and the shapes of the
    /// original's tests.
    public static let all: [DeviceGemmCase] = plain + groupedByIds + masked + large

    private static let plain: [DeviceGemmCase] = {
        var cases: [DeviceGemmCase] = []
        for element in CUDAGemmConfiguration.Element.allCases {
            for (m, n, k) in [
                (64, 128, 128), (1, 128, 256), (3, 144, 144), (128, 256, 512), (129, 272, 1040), (200, 2112, 1536),
                (1, 576, 7168), (64, 2112, 7168), (77, 24576, 256), (300, 112, 2048), (256, 7168, 512),
                (515, 1024, 384), (64, 128, 0),
            ] {
                for output in CUDAGemmConfiguration.Output.allCases {
                    let shape = CUDAGemmShape(m: m, n: n, k: k, element: element, output: output)
                    cases.append(DeviceGemmCase("\(element.rawValue) \(output.rawValue)", shape))
                }
            }
            let limited = CUDAGemmShape(m: 700, n: 1536, k: 896, element: element)
            for limit in [1, 2, 7] {
                cases.append(DeviceGemmCase("\(element.rawValue) on \(limit) multiprocessors", limited, limit: limit))
            }
        }
        return cases
    }()

    private static let groupedByIds: [DeviceGemmCase] = CUDAGemmConfiguration.Element.allCases.flatMap { element in
        [[128, 0, 100, 257], [1, 1, 1, 1], [600, 300, 0, 0, 5, 128]].flatMap { counts in
            [64, 128].map { alignment in
                let rows = counts.reduce(0) { $0 + ($1 + alignment - 1) / alignment * alignment }
                let shape = CUDAGemmShape(
                    m: rows, n: 768, k: 640, element: element, grouping: .ids, groups: counts.count,
                    alignment: alignment)
                return DeviceGemmCase("\(element.rawValue) by ids, aligned to \(alignment)", shape, counts: counts)
            }
        }
    }

    private static let masked: [DeviceGemmCase] = CUDAGemmConfiguration.Element.allCases.flatMap { element in
        [([64, 0, 33, 512], 512), ([1, 2, 3, 4, 5, 6], 128), ([300], 320)].map { counts, room in
            let shape = CUDAGemmShape(
                m: max(1, counts.reduce(0, +) / counts.count), n: 896, k: 768, element: element, grouping: .masked,
                groups: counts.count)
            return DeviceGemmCase("\(element.rawValue) masked", shape, counts: counts, room: room)
        }
    }

    private static let large: [DeviceGemmCase] = [
        (4096, 2112, 7168), (4096, 7168, 2048), (4096, 4096, 7168), (4096, 7168, 16384), (4096, 32768, 512),
    ].flatMap { m, n, k in
        CUDAGemmConfiguration.Element.allCases.map { element in
            DeviceGemmCase(
                "\(element.rawValue) large", CUDAGemmShape(m: m, n: n, k: k, element: element))
        }
    }
}

/// What a case gave.
public struct DeviceGemmCheck: Sendable {
    public var test: DeviceGemmCase
    /// Tile and stages of the kernel.
    public var kernel: String
    /// `calcDiff` to the CPU's product of the quantised numbers, and of the unquantised ones.
    public var exactDifference: Double
    public var difference: Double
    /// What is wrong; empty when all is well.
    public var failures: [String]
}
