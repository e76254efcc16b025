// SPDX-License-Identifier: MIT

public import Platform

/// How much work each logical expert of each layer has: [layers, experts], in any unit (tokens, usually).
///
/// Every load is finite and not negative, and those of a layer have a finite sum in Float.
public struct ExpertLoads: Sendable, Equatable {
    /// Layers and experts of a layer at most.
    public static let maximumLayerCount = 1 << 16
    public static let maximumExpertCount = 1 << 20

    public let layerCount: Int
    public let expertCount: Int
    /// The loads, layer after layer.
    public let values: [Float]

    /// - Parameter values: layer after layer.
    /// - Throws: `badData` that names layer and expert of a load which is not finite or negative, and the layer of a
    ///   sum that is not finite; `usage` for empty or impossible extents.
    public init(layerCount: Int, expertCount: Int, values: [Float]) throws(FathomError) {
        guard 1...Self.maximumLayerCount ~= layerCount else {
            throw FathomError(.usage, "weight: found \(layerCount) layers; legal are 1…\(Self.maximumLayerCount)")
        }
        guard 1...Self.maximumExpertCount ~= expertCount else {
            throw FathomError(
                .usage, "weight: found \(expertCount) experts in a layer; legal are 1…\(Self.maximumExpertCount)")
        }
        guard values.count == layerCount * expertCount else {
            throw FathomError(
                .usage, "weight: found \(values.count) loads; \(layerCount) layers of \(expertCount) experts are legal")
        }
        self.layerCount = layerCount
        self.expertCount = expertCount
        self.values = try Self.checked(values, expertCount: expertCount)
    }

    /// - Parameter rows: one for each layer, all of one length.
    /// - Throws: as the other initialiser; `badData` for a layer of another length than the first.
    public init(_ rows: [[Float]]) throws(FathomError) {
        let expertCount = rows.first?.count ?? 0
        for (layer, row) in rows.enumerated() where row.count != expertCount {
            throw FathomError(
                .badData,
                "weight, layer \(layer): found \(row.count) experts; \(expertCount), as in layer 0, are legal")
        }
        try self.init(layerCount: rows.count, expertCount: expertCount, values: rows.flatMap(\.self))
    }

    /// The loads of a layer.
    public func layer(_ layer: Int) -> ArraySlice<Float> {
        values[layer * expertCount..<(layer + 1) * expertCount]
    }

    /// The values with −0 as 0, so that the order of their bits is their order.
    private static func checked(_ values: [Float], expertCount: Int) throws(FathomError) -> [Float] {
        var result = values
        var sum = 0.0
        for index in values.indices {
            let (layer, expert) = index.quotientAndRemainder(dividingBy: expertCount)
            let load = values[index]
            guard load.isFinite, load >= 0 else {
                throw FathomError(
                    .badData,
                    "weight, layer \(layer), expert \(expert): found the load \(load); legal are finite numbers from 0")
            }
            result[index] = load + 0
            sum = expert == 0 ? Double(load) : sum + Double(load)
            guard sum < Double(Float.greatestFiniteMagnitude) / 2 else {
                throw FathomError(
                    .badData,
                    "weight, layer \(layer), expert \(expert): the loads of the layer add up to \(sum), "
                        + "beyond the range of Float; legal are smaller loads, in another unit")
            }
        }
        return result
    }
}
