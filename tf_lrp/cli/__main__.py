from tf_lrp.cli import app

app()
