// SPDX-License-Identifier: MIT

import CFathom

/// Three extents of a grid, a block or a cluster.
public struct Dimensions: Sendable, Equatable, CustomStringConvertible {
    public var x: Int
    public var y: Int
    public var z: Int

    public init(_ x: Int, _ y: Int = 1, _ z: Int = 1) {
        self.x = x
        self.y = y
        self.z = z
    }

    /// The product of the three.
    public var count: Int { x * y * z }

    public var description: String { "(\(x), \(y), \(z))" }
}

/// How a kernel is launched.
public struct LaunchConfiguration: Sendable, Equatable {
    /// Blocks.
    public var grid: Dimensions
    /// Threads of a block.
    public var block: Dimensions
    /// Blocks of a cluster, which divide the grid's.
    public var cluster: Dimensions
    /// Shared memory beside the kernel's static one, in bytes.
    public var dynamicSharedBytes: Int
    /// All blocks must be resident at once, so that they can wait for one another.
    public var isCooperative: Bool
    /// The kernel may start before the one before it in the stream has ended; it waits for its results itself
    /// (`griddepcontrol.wait`).
    public var startsEarly: Bool

    public init(
        grid: Dimensions, block: Dimensions, cluster: Dimensions = Dimensions(1), dynamicSharedBytes: Int = 0,
        isCooperative: Bool = false, startsEarly: Bool = false
    ) {
        self.grid = grid
        self.block = block
        self.cluster = cluster
        self.dynamicSharedBytes = dynamicSharedBytes
        self.isCooperative = isCooperative
        self.startsEarly = startsEarly
    }

    /// The attributes that differ from a plain launch (`CUlaunchAttributeID` in cuda.h).
    var attributes: [fathom_cuda_launch_attribute] {
        let cooperative: UInt32 = 2
        let clusterDimension: UInt32 = 4
        let programmaticStreamSerialization: UInt32 = 6
        func attribute(_ identifier: UInt32, _ x: Int, _ y: Int = 0, _ z: Int = 0) -> fathom_cuda_launch_attribute {
            var attribute = fathom_cuda_launch_attribute()
            attribute.identifier = identifier
            attribute.x = UInt32(x)
            attribute.y = UInt32(y)
            attribute.z = UInt32(z)
            return attribute
        }
        var result: [fathom_cuda_launch_attribute] = []
        if cluster.count > 1 { result.append(attribute(clusterDimension, cluster.x, cluster.y, cluster.z)) }
        if isCooperative { result.append(attribute(cooperative, 1)) }
        if startsEarly { result.append(attribute(programmaticStreamSerialization, 1)) }
        return result
    }
}
