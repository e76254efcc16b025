// SPDX-License-Identifier: MIT

internal import LowPrecision

/// The two matrices of each of some experts, read where they lie: operands of any format, order and scales.
///
/// The memory must stay valid and unchanged during the call that is given them.
public struct MegaMoEWeights {
    /// [experts, 2 · intermediate, hidden]: the first `intermediate` rows are the gate, the others up, as checkpoints
    /// have them. Nothing has to be interleaved.
    public var gateUp: MatrixOperand
    /// [experts, hidden, intermediate].
    public var down: MatrixOperand

    public init(gateUp: MatrixOperand, down: MatrixOperand) {
        self.gateUp = gateUp
        self.down = down
    }

    public var expertCount: Int { gateUp.groupCount }
    public var hidden: Int { gateUp.columnCount }
    public var intermediate: Int { down.columnCount }
}

/// Which experts each token goes to, and how much each of them counts.
///
/// The memory must stay valid and unchanged during the call that is given them.
public struct MegaMoEChoices {
    public var tokenCount: Int
    /// Slots of a token.
    public var topK: Int
    /// [tokenCount, topK]: an expert, or −1 for a slot that is empty.
    public var experts: UnsafePointer<Int32>
    /// [tokenCount, topK]; those of empty slots are not read.
    public var weights: UnsafePointer<Float>

    public init(
        tokenCount: Int, topK: Int, experts: UnsafePointer<Int32>, weights: UnsafePointer<Float>
    ) {
        self.tokenCount = tokenCount
        self.topK = topK
        self.experts = experts
        self.weights = weights
    }
}

/// What `megaMoE` does between and besides its products.
public struct MegaMoEOptions: Sendable, Hashable {
    /// How the rows between the two products are held.
    public enum Intermediate: String, Sendable, CaseIterable, Codable {
        /// FP8 E4M3 with a UE8M0 scale for 32 neighbours.
        case float8E4M3 = "fp8"
        case bfloat16 = "bf16"
    }

    /// What gate is at most, and up in magnitude, rounded to bfloat16; nil for no limit.
    public var clamp: Float?
    /// nil for what the second matrices suggest: FP8 where they are FP8 or FP4, else bfloat16.
    public var intermediate: Intermediate?

    public init(clamp: Float? = nil, intermediate: Intermediate? = nil) {
        self.clamp = clamp
        self.intermediate = intermediate
    }

    /// The form that is used with these weights.
    func form(of weights: MegaMoEWeights) -> Intermediate {
        intermediate ?? ([.float8E4M3, .float4E2M1].contains(weights.down.format) ? .float8E4M3 : .bfloat16)
    }

    /// The unit between the products.
    var unit: ExpertUnit { ExpertUnit(limit: clamp.map { Float(BFloat16($0)) }) }
}
