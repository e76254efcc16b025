// SPDX-License-Identifier: MIT

internal import DeepGEMM
internal import LowPrecision
internal import Platform
internal import Tensors

/// Reads weights by name from a checkpoint, in whichever dtype they are stored.
struct CheckpointReader {
    let folder: SafetensorsFolder
    let configuration: DeepSeekConfiguration

    private static let floatTypes: [ScalarType] = [.bfloat16, .float16, .float32]

    /// A linear layer's weight [outputs, inputs]; FP8 with its scales where the checkpoint has it so.
    ///
    /// - Parameter mayBeQuantized: false for the weights that every release keeps unquantised.
    func weight(
        _ name: String, outputs: Int, inputs: Int, mayBeQuantized: Bool = true
    ) throws(FathomError) -> StoredWeight {
        let types = Self.floatTypes + (mayBeQuantized && configuration.quantization != nil ? [.float8E4M3] : [])
        let values = try folder.require(name + ".weight", shape: [outputs, inputs], types: types)
        guard values.scalarType == .float8E4M3, let quantization = configuration.quantization else {
            return StoredWeight(WeightMatrix(values: values))
        }
        let rows = (outputs + quantization.blockRows - 1) / quantization.blockRows
        let columns = (inputs + quantization.blockColumns - 1) / quantization.blockColumns
        let scales = try floats(name + ".weight_scale_inv", shape: [rows, columns])
        for index in 0..<scales.count where abs(scales.baseAddress[index]) >= WeightMatrix.scaleLimit {
            throw FathomError(
                .badData,
                "\(values.sourcePath): tensor \(name).weight_scale_inv has \(scales.baseAddress[index]) at "
                    + "[\(index / columns), \(index % columns)]; scales below \(WeightMatrix.scaleLimit) can be used")
        }
        return StoredWeight(
            WeightMatrix(
                values: values, scales: scales, blockRows: quantization.blockRows,
                blockColumns: quantization.blockColumns))
    }

    /// A small tensor (norm, bias, scales), copied to float32 and checked to be finite.
    func floats(_ name: String, shape: [Int]) throws(FathomError) -> AlignedBuffer<Float> {
        let tensor = try folder.require(name, shape: shape, types: Self.floatTypes)
        let buffer = try AlignedBuffer<Float>(count: tensor.elementCount, purpose: name)
        let bytes = tensor.bytes
        for index in 0..<tensor.elementCount {
            let value: Float =
                switch tensor.scalarType {
                case .bfloat16:
                    Float(BFloat16(bitPattern: bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)))
                case .float16:
                    Float(float16Bits: bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
                default: bytes.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
                }
            guard value.isFinite else { throw nonFiniteError(tensor, element: index) }
            buffer.baseAddress[index] = value
        }
        return buffer
    }
}
