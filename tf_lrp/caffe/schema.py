"""Caffe's file format, as far as networks are read: field names and numbers of caffe.proto, for Google's protobuf package.

The messages are built from the table below, in a pool of their own, so that neither a compiler for protobuf nor Caffe is
needed, and so that another package's ``caffe.proto`` does not collide with them. Fields that do not change what a network
computes are left out: protobuf skips what it does not know.
"""

from __future__ import annotations

import functools
from typing import Any

#: Types of fields, in protobuf's own words.
_SCALARS = ("int32", "int64", "uint32", "float", "double", "bool", "string")

_ENUMS = {
    "Phase": {"TRAIN": 0, "TEST": 1},
    "PoolMethod": {"MAX": 0, "AVE": 1, "STOCHASTIC": 2},
    "RoundMode": {"CEIL": 0, "FLOOR": 1},
    "NormRegion": {"ACROSS_CHANNELS": 0, "WITHIN_CHANNEL": 1},
    "EltwiseOp": {"PROD": 0, "SUM": 1, "MAX": 2},
    "LayerType": {
        name: number
        for number, name in enumerate(
            (
                "NONE",
                "ACCURACY",
                "BNLL",
                "CONCAT",
                "CONVOLUTION",
                "DATA",
                "DROPOUT",
                "EUCLIDEAN_LOSS",
                "FLATTEN",
                "HDF5_DATA",
                "HDF5_OUTPUT",
                "IM2COL",
                "IMAGE_DATA",
                "INFOGAIN_LOSS",
                "INNER_PRODUCT",
                "LRN",
                "MULTINOMIAL_LOGISTIC_LOSS",
                "POOLING",
                "RELU",
                "SIGMOID",
                "SOFTMAX",
                "SOFTMAX_LOSS",
                "SPLIT",
                "TANH",
                "WINDOW_DATA",
                "ELTWISE",
                "POWER",
                "SIGMOID_CROSS_ENTROPY_LOSS",
                "HINGE_LOSS",
                "MEMORY_DATA",
                "ARGMAX",
                "THRESHOLD",
                "DUMMY_DATA",
                "SLICE",
                "MVN",
                "ABSVAL",
                "SILENCE",
                "CONTRASTIVE_LOSS",
                "EXP",
                "DECONVOLUTION",
            )
        )
    },
}

#: Message -> its fields: "name number type [*] [=default]", where * means repeated.
_MESSAGES = {
    "BlobShape": "dim 1 int64 *",
    "BlobProto": """num 1 int32; channels 2 int32; height 3 int32; width 4 int32; data 5 float *; shape 7 BlobShape;
        double_data 8 double *""",
    "NetState": "phase 1 Phase; level 2 int32; stage 3 string *",
    "NetStateRule": "phase 1 Phase; min_level 2 int32; max_level 3 int32; stage 4 string *; not_stage 5 string *",
    "ConvolutionParameter": """num_output 1 uint32; bias_term 2 bool =true; pad 3 uint32 *; kernel_size 4 uint32 *;
        group 5 uint32 =1; stride 6 uint32 *; pad_h 9 uint32; pad_w 10 uint32; kernel_h 11 uint32; kernel_w 12 uint32;
        stride_h 13 uint32; stride_w 14 uint32; axis 16 int32 =1; dilation 18 uint32 *""",
    "PoolingParameter": """pool 1 PoolMethod; kernel_size 2 uint32; stride 3 uint32; pad 4 uint32; kernel_h 5 uint32;
        kernel_w 6 uint32; stride_h 7 uint32; stride_w 8 uint32; pad_h 9 uint32; pad_w 10 uint32; global_pooling 12 bool;
        round_mode 13 RoundMode; ceil_mode 1000 bool =true""",  # the last one is of derived programs, in text
    "LRNParameter": "local_size 1 uint32 =5; alpha 2 float =1; beta 3 float =0.75; norm_region 4 NormRegion; k 5 float =1",
    "InnerProductParameter": "num_output 1 uint32; bias_term 2 bool =true; axis 5 int32 =1; transpose 6 bool",
    "ReLUParameter": "negative_slope 1 float",
    "PReLUParameter": "channel_shared 2 bool",
    "DropoutParameter": "dropout_ratio 1 float =0.5",
    "ELUParameter": "alpha 1 float =1",
    "ConcatParameter": "concat_dim 1 uint32 =1; axis 2 int32 =1",
    "SliceParameter": "slice_dim 1 uint32 =1; slice_point 2 uint32 *; axis 3 int32 =1",
    "EltwiseParameter": "operation 1 EltwiseOp =SUM; coeff 2 float *",
    "BatchNormParameter": "use_global_stats 1 bool; eps 3 float =1e-5",
    "ScaleParameter": "axis 1 int32 =1; num_axes 2 int32 =1; bias_term 4 bool",
    "BiasParameter": "axis 1 int32 =1; num_axes 2 int32 =1",
    "FlattenParameter": "axis 1 int32 =1; end_axis 2 int32 =-1",
    "ReshapeParameter": "shape 1 BlobShape; axis 2 int32; num_axes 3 int32 =-1",
    "CropParameter": "axis 1 int32 =2; offset 2 uint32 *",
    "PowerParameter": "power 1 float =1; scale 2 float =1; shift 3 float",
    "SoftmaxParameter": "axis 2 int32 =1",
    "InputParameter": "shape 1 BlobShape *",
    "V0LayerParameter": "name 1 string; type 2 string; blobs 50 BlobProto *",
    "LayerParameter": """name 1 string; type 2 string; bottom 3 string *; top 4 string *; loss_weight 5 float *;
        blobs 7 BlobProto *; include 8 NetStateRule *; exclude 9 NetStateRule *; concat_param 104 ConcatParameter;
        convolution_param 106 ConvolutionParameter; dropout_param 108 DropoutParameter; eltwise_param 110 EltwiseParameter;
        inner_product_param 117 InnerProductParameter; lrn_param 118 LRNParameter; pooling_param 121 PoolingParameter;
        power_param 122 PowerParameter; relu_param 123 ReLUParameter; softmax_param 125 SoftmaxParameter;
        slice_param 126 SliceParameter; prelu_param 131 PReLUParameter; reshape_param 133 ReshapeParameter;
        flatten_param 135 FlattenParameter; batch_norm_param 139 BatchNormParameter; elu_param 140 ELUParameter;
        bias_param 141 BiasParameter; scale_param 142 ScaleParameter; input_param 143 InputParameter;
        crop_param 144 CropParameter""",
    "V1LayerParameter": """layer 1 V0LayerParameter; bottom 2 string *; top 3 string *; name 4 string; type 5 LayerType;
        blobs 6 BlobProto *; concat_param 9 ConcatParameter; convolution_param 10 ConvolutionParameter;
        dropout_param 12 DropoutParameter;
        inner_product_param 17 InnerProductParameter; lrn_param 18 LRNParameter; pooling_param 19 PoolingParameter;
        power_param 21 PowerParameter; eltwise_param 24 EltwiseParameter;
        relu_param 30 ReLUParameter; slice_param 31 SliceParameter; include 32 NetStateRule *; exclude 33 NetStateRule *;
        loss_weight 35 float *; softmax_param 39 SoftmaxParameter""",
    "NetParameter": """name 1 string; layers 2 V1LayerParameter *; input 3 string *; input_dim 4 int32 *; state 6 NetState;
        input_shape 8 BlobShape *; layer 100 LayerParameter *""",
}


@functools.cache
def message(name: str) -> Any:
    """The class of a message of Caffe's format, such as "NetParameter"."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"caffe.{name}"))


@functools.cache
def _pool():
    from google.protobuf import descriptor_pb2, descriptor_pool

    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="tf_lrp/caffe.proto", package="caffe", syntax="proto2")
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    # Values of enumerations share one scope in a file: each enumeration is in a message of its own.
    for enum in list(file.enum_type):
        file.message_type.add(name=f"{enum.name}s").enum_type.append(enum)
    del file.enum_type[:]
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name)
        for text in fields.split(";"):
            label, number, kind, *rest = text.split()
            field = described.field.add(name=label, number=int(number))
            repeated = "*" in rest
            field.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            if kind in _SCALARS:
                field.type = getattr(field_type, f"TYPE_{kind.upper()}")
                field.options.packed = repeated and kind != "string"
            elif kind in _ENUMS:
                field.type, field.type_name = field_type.TYPE_ENUM, f".caffe.{kind}s.{kind}"
            else:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".caffe.{kind}"
            if not repeated and rest:
                field.default_value = rest[0].removeprefix("=")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
