// SPDX-License-Identifier: MIT

package import CUDA

/// What a GPU kernel of the matrix product is compiled for. Its shape is not part of it: a kernel serves all shapes for
/// which the plan chooses its configuration.
public struct CUDAGemmConfiguration: Hashable, Sendable {
    /// The operands.
    public enum Element: String, Sendable, CaseIterable {
        /// E4M3 with float32 scales, 1×128 for A and 128×128 for B.
        case float8E4M3 = "fp8"
        case bfloat16 = "bf16"

        public var byteCount: Int { self == .float8E4M3 ? 1 : 2 }
    }

    /// The result.
    public enum Output: String, Sendable, CaseIterable {
        case bfloat16 = "bf16"
        case float32 = "f32"
        /// Added to what is there.
        case accumulatingFloat32 = "f32+="

        public var byteCount: Int { self == .bfloat16 ? 2 : 4 }
    }

    /// How rows belong to matrices of B.
    public enum Grouping: Int, Sendable, CaseIterable {
        case none = 0
        /// A group id for each row, −1 for padding (M-grouped contiguous).
        case ids = 1
        /// A number of valid rows for each group, on the device (M-grouped masked).
        case masked = 2
    }

    public var element: Element
    public var output: Output
    public var grouping: Grouping
    /// Rows and columns of a tile.
    public var blockRows: Int
    public var blockColumns: Int
    /// K blocks (128 bytes of each row) in flight.
    public var stages: Int
    /// Blocks of a cluster: 1, or 2 that share an operand by multicast.
    public var cluster: Int
    /// A cluster's blocks have the same rows (and share A) instead of the same columns (and share B).
    public var sharesA: Bool
    /// Columns of a tile that leave through shared memory at a time.
    public var storeColumns: Int
    /// Parts that K is cut into; each is a unit of work, the last to finish adds them in order.
    public var splits: Int
    /// Tiles of a stripe, and whether a stripe's tiles lie along M.
    public var rasterWidth: Int
    public var rasterAlongRows: Bool
    /// Several tiles read the same part of B, so it is worth keeping in the L2 cache.
    public var rereadsB: Bool

    /// The name of the kernel in its binary.
    public static var kernelName: String { "fathom_gemm" }
    /// Dynamic shared memory that a block of compute capability 9.0 may have, in bytes.
    public static var sharedByteLimit: Int { 232_448 }

    /// Elements of K in a stage.
    public var blockDepth: Int { 128 / element.byteCount }
    /// Warpgroups that multiply.
    public var mathGroups: Int { blockRows >= 128 ? 2 : 1 }
    public var threadCount: Int { (mathGroups + 1) * 128 }

    /// Dynamic shared memory of a block in bytes; `gemm_layout.cuh` computes the same.
    public var sharedBytes: Int {
        let output = (mathGroups * 64 * storeColumns * self.output.byteCount + 1023) / 1024 * 1024
        return output + stages * (stageBytes + 16) + mathGroups * 4
    }

    /// Shared memory of one stage without its barriers.
    var stageBytes: Int {
        (blockRows + blockColumns) * 128 + (element == .float8E4M3 ? blockRows * 4 + 128 : 0)
    }

    /// Float32 values of workspace for a launch with this many units of tiles: what splits leave for the last.
    func workspaceCount(tiles: Int) -> Int { splits > 1 ? tiles * splits * blockRows * blockColumns : 0 }
    /// Counters of a launch with this many tiles.
    func counterCount(tiles: Int) -> Int { splits > 1 ? tiles * mathGroups : 0 }

    /// The configuration as constants, for `gemm_layout.cuh` and the kernel.
    package var constants: String {
        let values: [(String, String, String)] = [
            ("u32", "kBlockM", "\(blockRows)"), ("u32", "kBlockN", "\(blockColumns)"),
            ("u32", "kStages", "\(stages)"), ("u32", "kCluster", "\(cluster)"), ("bool", "kShareA", "\(sharesA)"),
            ("u32", "kElementBytes", "\(element.byteCount)"), ("bool", "kScaled", "\(element == .float8E4M3)"),
            ("u32", "kOutputBytes", "\(output.byteCount)"),
            ("bool", "kAccumulates", "\(output == .accumulatingFloat32)"),
            ("u32", "kStoreColumns", "\(storeColumns)"), ("u32", "kSplits", "\(splits)"),
            ("u32", "kRasterWidth", "\(rasterWidth)"), ("bool", "kRasterAlongM", "\(rasterAlongRows)"),
            ("u32", "kGrouping", "\(grouping.rawValue)"), ("bool", "kRereadsB", "\(rereadsB)"),
        ]
        return "#pragma once\n#include \"layout.cuh\"\n#define FATHOM_CLUSTER \(cluster)\nnamespace fathom {\n"
            + values.map { "constexpr \($0.0) \($0.1) = \($0.2);\n" }.joined() + "}  // namespace fathom\n"
    }

    /// The text of `gemm_layout.cuh`.
    package static var layoutText: String { String(decoding: PackageResources.gemm_layout_cuh, as: UTF8.self) }

    /// What the run-time compiler is given.
    ///
    /// - Parameter waitLimitNanoseconds: a wait in the kernel that takes longer is an error instead of a hang; nil for
    ///   no limit (and no cost).
    package func source(waitLimitNanoseconds: Int? = nil) -> KernelSource {
        let product = WarpgroupInstruction(
            name: "multiply", columns: blockColumns, element: element == .float8E4M3 ? .float8E4M3 : .bfloat16)
        return KernelSource(
            name: "gemm.cu", text: String(decoding: PackageResources.gemm_cu, as: UTF8.self),
            headers: DeviceHeaders.all + [
                KernelSource.Header(name: "configuration.cuh", text: constants),
                KernelSource.Header(name: "gemm_layout.cuh", text: Self.layoutText),
                KernelSource.Header(
                    name: "multiply.cuh", text: "#pragma once\n#include \"hopper.cuh\"\n" + product.source),
            ],
            options: waitLimitNanoseconds.map { ["-DFATHOM_WAIT_LIMIT=\($0)ull"] } ?? [])
    }
}
