// SPDX-License-Identifier: MIT

internal import Kernels

/// The FP8 and FP4 layouts of a latent cache, byte for byte those of FlashMLA.
///
/// A row is the latent in E4M3 or E2M1 with one scale for each group of columns and, in the first two, the rotated
/// part of the key as bfloat16. A column of the latent is code · scale in single precision, rounded to the nearest
/// bfloat16, which changes nothing where the scale is a power of two; any other scale that a V3.2 row holds is
/// honoured as it is. A NaN code or scale makes a NaN.
public enum PackedLatentFormat: String, Sendable, CaseIterable {
    /// DeepSeek-V3.2: for each token 656 bytes: 512 codes, 4 float32 scales (one for 128 columns), 64 bfloat16.
    case v32
    /// MODEL1: a page holds first 576 bytes for each token, 448 codes and 64 bfloat16, then for each token 8 bytes,
    /// 7 UE8M0 scales (one for 64 columns) and a zero; the page is padded to a multiple of 576 bytes.
    case model1
    /// V4.1: for each token 528 bytes: 512 codes, which include the rotated part, and 16 UE8M0 scales (one for 32).
    case v41
    /// V4.1's second pool: for each token 288 bytes: 512 FP4 E2M1 codes, two a byte with the even column in the lower
    /// half, which include the rotated part, and 32 E4M3 scales (one for 16).
    case v41fp4

    /// Columns of a row: the width of the keys.
    public var rowWidth: Int { latentWidth + ropeWidth }
    /// Columns of a row that are the value in the models with this layout.
    public var valueWidth: Int { 512 }
    /// Columns that are stored as codes; they come first.
    public var latentWidth: Int { self == .model1 ? 448 : 512 }
    /// Columns that are stored as bfloat16.
    public var ropeWidth: Int { self == .v32 || self == .model1 ? 64 : 0 }
    /// Columns that share a scale.
    public var groupWidth: Int {
        switch self {
        case .v32: 128
        case .model1: 64
        case .v41: 32
        case .v41fp4: 16
        }
    }
    /// Scales of a row.
    public var groupCount: Int { latentWidth / groupWidth }
    /// Bytes of a row's codes.
    var codeByteCount: Int { self == .v41fp4 ? latentWidth / 2 : latentWidth }
    /// The kinds of codes and scales.
    var coding: PackedLatentCoding {
        switch self {
        case .v32: .float8
        case .model1, .v41: .float8WithExponents
        case .v41fp4: .float4
        }
    }

    /// Bytes of a token, without the padding of a page.
    public var tokenByteCount: Int {
        switch self {
        case .v32: 656
        case .model1: 584
        case .v41: 528
        case .v41fp4: 288
        }
    }

    /// Bytes of a page of `pageSize` tokens.
    public func pageByteCount(pageSize: Int) -> Int {
        let bytes = pageSize * tokenByteCount
        return self == .model1 ? (bytes + 575) / 576 * 576 : bytes
    }

    /// Bytes from the start of a page to the codes of its token `offset`.
    func codeOffset(_ offset: Int) -> Int { offset * (self == .model1 ? 576 : tokenByteCount) }

    /// Bytes from the start of a page to the scales of its token `offset`.
    func scaleOffset(_ offset: Int, pageSize: Int) -> Int {
        self == .model1 ? pageSize * 576 + offset * 8 : codeOffset(offset) + codeByteCount
    }

    /// Bytes from the start of a page to the bfloat16 numbers of its token `offset`.
    func ropeOffset(_ offset: Int) -> Int {
        codeOffset(offset) + codeByteCount + (self == .v32 ? 4 * groupCount : 0)
    }
}
